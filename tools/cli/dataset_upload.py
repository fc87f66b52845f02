"""`actorctl dataset upload`: a dataset's finished episodes to the Hugging Face hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import DatasetError, HubUnreachableError
from ...robot.dataset.lowest_priority import take_lowest_priority
from .option_types import INTERRUPTED
from .running_fleet import fail

if TYPE_CHECKING:
    from ...robot.dataset.hub_upload import UploadProgress

_AGAIN, _REFUSED = 1, 2
_MB = 1e6


def upload(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The dataset's folder.")],
    repo_id: Annotated[
        str, typer.Option(metavar="NAME", help="Such as lab/pick; made if absent, else continued.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make it private; a public one is refused.")
    ] = False,
    max_mbps: Annotated[
        float | None,
        typer.Option(metavar="N", help="Megabits a second that it may send.", min=0.01),
    ] = None,
) -> None:
    """Send its finished episodes to the Hugging Face hub; what is there already is not sent again.

    An upload that was ended continues with the next call. It may run while the dataset is recorded
    to, and yields processor and disk. Log in before, with `hf auth login`. Needs the extras `data`
    and `hub`.

    Exit status 0 if all is sent, 1 if the network or the hub does not answer, 2 if it is
    refused."""
    try:
        from ...robot.dataset.hub_upload import HubUpload
    except ModuleNotFoundError as error:
        fail(f"this needs {error.name}: `pip install 'holdfast[data,hub]'`", _REFUSED)
    take_lowest_priority()
    try:
        done = HubUpload(path, repo_id, private=private, mbit_s=max_mbps, report=_say).run()
    except HubUnreachableError as error:
        fail(f"{error}; the same command continues the upload", _AGAIN)
    except DatasetError as error:
        fail(str(error), _REFUSED)
    except OSError as error:
        fail(f"{error.filename or path}: {error.strerror or error}", _REFUSED)
    except KeyboardInterrupt:
        print("ended; the same command continues the upload", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    if not done.episodes:
        print(f"{path} has no finished episode yet")
    else:
        what = f"{done.files} files were sent" if done.files else "nothing was to be sent"
        print(f"{repo_id} has all {done.episodes} episodes of {path}; {what}")


def _say(progress: UploadProgress) -> None:
    if progress.files:
        print(
            f"{progress.sent} of {progress.files} files, {progress.sent_bytes / _MB:.1f} of "
            f"{progress.size_bytes / _MB:.1f} MB",
            flush=True,
        )

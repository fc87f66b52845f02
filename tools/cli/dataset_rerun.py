"""`actorctl dataset rerun`: an episode for Rerun's viewer, as a file or at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ...errors import DatasetError
from .option_types import INTERRUPTED
from .running_fleet import fail

_FAILED, _NONE = 1, 2
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET")


def rerun(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The dataset's folder.")],
    episode: Annotated[int, typer.Option(help="Its number.", min=0)],
    out: Annotated[
        Path | None, typer.Option(help="The .rrd file to write, or replace; optional with --spawn.")
    ] = None,
    spawn: Annotated[
        bool, typer.Option("--spawn", help="Open the viewer, and wait until it is closed.")
    ] = False,
) -> None:
    """Write an episode for the viewer of Rerun: cameras, states, actions, chunks, interventions.

    Needs the extras `data` and `rerun`, which has the viewer; `rerun FILE` opens a file later, or
    on another machine. Exit status 1 if the file or the viewer fails, 2 for no such episode."""
    if out is None and not spawn:
        fail("say where to write it, by --out FILE.rrd, or open the viewer by --spawn", _NONE)
    if spawn and (why := _no_display()):
        fail(why, _FAILED)
    try:
        from ...robot.dataset import rerun_export
        from ...robot.dataset.dataset_reader import Dataset
    except ModuleNotFoundError as error:
        extra = "data,rerun" if error.name == "rerun" else "data"
        fail(f"this needs {error.name}: `pip install 'holdfast[{extra}]'`", _NONE)
    with tempfile.TemporaryDirectory(prefix="holdfast-rerun-") as folder:
        file = Path(folder) / f"episode-{episode}.rrd" if out is None else out.expanduser()
        try:
            rerun_export.export(Dataset(path), episode, file)
        except DatasetError as error:
            fail(str(error), _NONE)
        except OSError as error:
            fail(f"{file} cannot be written: {error.strerror}", _FAILED)
        if out is not None:
            print(f"episode {episode} of {path} is in {out}: `rerun {out}` opens it", flush=True)
        if spawn:
            print(f"the viewer shows episode {episode} of {path}; Ctrl-C ends it", flush=True)
            _view(file)


def _no_display() -> str:
    """Why no window can be opened here; empty if one can, as far as this is known before."""
    if sys.platform != "linux" or any(os.environ.get(name) for name in DISPLAYS):
        return ""
    return (
        "the viewer needs a display, and there is none here (neither DISPLAY nor WAYLAND_DISPLAY "
        "is set): write the episode by --out FILE.rrd, and open it by `rerun FILE.rrd` where there "
        "is one"
    )


def _view(file: Path) -> None:
    """Run the viewer until it is closed."""
    command = [sys.executable, "-m", "rerun", str(file)]
    viewer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, said = viewer.communicate()
    except KeyboardInterrupt:
        viewer.terminate()
        viewer.wait()
        raise SystemExit(INTERRUPTED) from None
    if viewer.returncode:
        last = (said.strip().splitlines() or [f"exit status {viewer.returncode}"])[-1]
        fail(f"Rerun's viewer did not open: {last}", _FAILED)

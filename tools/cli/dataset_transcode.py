"""`actorctl dataset transcode`: a dataset's videos in a codec that makes them smaller."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import DatasetError
from ...robot.dataset.encoding import ArchiveCodec, Archiving
from ...robot.dataset.lowest_priority import take_lowest_priority
from .option_types import INTERRUPTED
from .running_fleet import fail

if TYPE_CHECKING:
    from ...robot.dataset.video_archive import ArchiveProgress

_LEFT, _REFUSED = 1, 2
_MB = 1e6
_STANDARD = Archiving()


def transcode(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The dataset's folder.")],
    codec: Annotated[
        ArchiveCodec, typer.Option(help="What the videos are encoded in: av1, by SVT-AV1.")
    ] = _STANDARD.codec,
    quality: Annotated[
        int, typer.Option(metavar="N", help="The encoder's CRF, 1 (best) to 63.", min=1, max=63)
    ] = _STANDARD.quality,
    threads: Annotated[
        int, typer.Option(metavar="N", help="Processor threads of the encoder.", min=1, max=64)
    ] = _STANDARD.threads,
) -> None:
    """Encode its videos anew, one after the other, each verified before it takes the old one's
    place.

    The dataset may be read meanwhile, and recorded to: it waits while a robot records an episode.
    Ended or killed at any time, it continues with the next call. It has the lowest priority for
    processor and disk. Needs the extra `data`.

    Exit status 0 if all videos have the codec, 1 if some are left as they are, with the reason, 2
    if it is refused."""
    try:
        from ...robot.dataset.video_archive import VideoArchive
    except ModuleNotFoundError as error:
        fail(f"this needs {error.name}: `pip install 'holdfast[data]'`", _REFUSED)
    take_lowest_priority()
    archiving = Archiving(codec=codec, quality=quality, threads=threads)
    try:
        archive = VideoArchive(path, archiving, _Lines().say)
        done = archive.run()
    except DatasetError as error:
        fail(str(error), _REFUSED)
    except OSError as error:
        fail(f"{error.filename or path}: {error.strerror or error}", _REFUSED)
    except KeyboardInterrupt:
        print("ended; the same command continues it", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    for reason in archive.left:
        print(reason, file=sys.stderr)
    if not done.files:
        print(f"no video of {path} was to be transcoded")
    else:
        print(
            f"{done.done} of {done.files} videos of {path} are {codec} now: "
            f"{done.before_bytes / _MB:.1f} MB became {done.after_bytes / _MB:.1f} MB"
        )
    raise SystemExit(_LEFT if archive.left else 0)


class _Lines:
    """A line for each video that is done, and for what is waited for."""

    def __init__(self) -> None:
        self._done, self._waits = 0, ""

    def say(self, progress: ArchiveProgress) -> None:
        if progress.done > self._done:
            self._done = progress.done
            print(f"{progress.done} of {progress.files} videos: {progress.file}", flush=True)
        if progress.waits != self._waits:
            self._waits = progress.waits
            if progress.waits:
                print(f"waits: {progress.waits}", flush=True)

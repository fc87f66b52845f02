"""A process of its own that transcodes a dataset's videos, for its recorder: `python -m ... TASK`.

TASK is a `TranscodeTask` as JSON, each line on stdout a `TranscodeNote`. It is paused between two
frames, and holds none of the dataset's locks then, but for that against others of its kind.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from ...robot.dataset.lowest_priority import take_lowest_priority
from ...robot.dataset.video_archive import ArchiveProgress, VideoArchive
from .recorder_pipes import RecorderPipes
from .transcode_note import TranscodeNote, TranscodeTask


def main() -> None:
    """Transcode what has another codec, once."""
    task = msgspec.json.decode(sys.argv[1], type=TranscodeTask)
    take_lowest_priority()
    pipes = RecorderPipes(TranscodeNote())
    archive = VideoArchive(
        Path(task.root),
        task.archiving,
        report=lambda progress: pipes.say(_note(progress)),
        pause=pipes.pause,
        waits=True,
    )

    def transcoded() -> TranscodeNote:
        note = _note(archive.run())
        return msgspec.structs.replace(note, left=tuple(archive.left))

    pipes.run(transcoded, archive.root)


def _note(progress: ArchiveProgress) -> TranscodeNote:
    return TranscodeNote(
        transcoded=progress.done,
        files=progress.files,
        before_bytes=progress.before_bytes,
        after_bytes=progress.after_bytes,
        file=progress.file,
        waits=progress.waits,
    )


if __name__ == "__main__":
    main()

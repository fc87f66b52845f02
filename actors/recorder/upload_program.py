"""A process of its own that uploads a dataset, for its recorder: `python -m ... TASK`.

TASK is an `UploadTask` as JSON, each line on stdout an `UploadNote`. It holds none of the dataset's
locks while it is paused, but for that against other uploads.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from ...robot.dataset.hub_upload import HubUpload, UploadProgress
from ...robot.dataset.lowest_priority import take_lowest_priority
from .recorder_pipes import RecorderPipes
from .upload_note import UploadNote, UploadTask


def main() -> None:
    """Upload once."""
    task = msgspec.json.decode(sys.argv[1], type=UploadTask)
    take_lowest_priority()
    pipes = RecorderPipes(UploadNote())
    upload = HubUpload(
        Path(task.root),
        task.repo_id,
        private=task.private,
        mbit_s=task.max_mbps,
        report=lambda progress: pipes.say(_note(progress)),
        pause=pipes.pause,
        waits=True,
    )
    pipes.run(lambda: _note(upload.run()), Path(task.root))


def _note(progress: UploadProgress) -> UploadNote:
    return UploadNote(
        sent_bytes=progress.sent_bytes,
        size_bytes=progress.size_bytes,
        episodes=progress.episodes,
    )


if __name__ == "__main__":
    main()

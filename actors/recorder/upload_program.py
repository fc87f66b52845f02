"""A process of its own that uploads a dataset, for its recorder: `python -m ... SETTINGS`.

SETTINGS is an `UploadTask` as JSON. Each line on stdout is an `UploadNote`. On stdin, "p" pauses it
and "r" lets it go on; it ends where stdin ends, so that it never outlives its recorder. It holds
none of the dataset's locks while it is paused, but for that against other uploads.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import msgspec

from ...errors import DatasetError, HubUnreachableError
from ...robot.dataset.hub_upload import HubUpload, UploadProgress
from ...robot.dataset.lowest_priority import take_lowest_priority
from .upload_note import UploadNote, UploadTask


def main() -> None:
    """Upload once."""
    task = msgspec.json.decode(sys.argv[1], type=UploadTask)
    take_lowest_priority()
    pipes = _RecorderPipes()
    threading.Thread(target=pipes.listen, daemon=True).start()
    upload = HubUpload(
        Path(task.root),
        task.repo_id,
        private=task.private,
        mbit_s=task.max_mbps,
        report=lambda progress: pipes.say(_note(progress)),
        pause=pipes.pause,
        waits=True,
    )
    try:
        progress = upload.run()
        pipes.say(msgspec.structs.replace(_note(progress), done=True))
    except (DatasetError, HubUnreachableError) as error:
        pipes.say(UploadNote(error=str(error)))
    except OSError as error:
        pipes.say(UploadNote(error=f"{error.filename or task.root}: {error.strerror or error}"))


class _RecorderPipes:
    """stdin and stdout, whose other ends the recorder has."""

    def __init__(self) -> None:
        self._goes = threading.Event()
        self._goes.set()
        self._said = UploadNote()

    def say(self, note: UploadNote) -> None:
        self._said = note
        os.write(1, msgspec.json.encode(note) + b"\n")

    def pause(self) -> None:
        """Returns when it is not to be paused, or not any more."""
        if self._goes.is_set():
            return
        self.say(msgspec.structs.replace(self._said, paused=True))
        self._goes.wait()
        self.say(msgspec.structs.replace(self._said, paused=False))

    def listen(self) -> None:
        """Take what the recorder says, to its end, and end this process with it."""
        while said := os.read(0, 1):
            if said == b"p":
                self._goes.clear()
            else:
                self._goes.set()
        os._exit(0)


def _note(progress: UploadProgress) -> UploadNote:
    return UploadNote(
        sent_bytes=progress.sent_bytes,
        size_bytes=progress.size_bytes,
        episodes=progress.episodes,
    )


if __name__ == "__main__":
    main()

"""A process of its own that uploads a dataset, for its recorder: `python -m ... SETTINGS`.

SETTINGS is an `UploadTask` as JSON. Each line on stdout is an
`UploadNote`. On stdin, "p" pauses it and "r" lets it go on; it ends where stdin ends, so that it
never outlives its recorder. It holds none of the dataset's locks while it is paused, but for that
against other uploads.
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
    goes = threading.Event()
    goes.set()
    threading.Thread(target=_listen, args=(goes,), daemon=True).start()
    upload = HubUpload(
        Path(task.root),
        task.repo_id,
        private=task.private,
        mbit_s=task.max_mbps,
        report=lambda progress: _say(_note(progress)),
        pause=goes.wait,
        waits=True,
    )
    try:
        progress = upload.run()
        _say(msgspec.structs.replace(_note(progress), done=True))
    except (DatasetError, HubUnreachableError) as error:
        _say(UploadNote(error=str(error)))
    except OSError as error:
        _say(UploadNote(error=f"{error.filename or task.root}: {error.strerror or error}"))


def _listen(goes: threading.Event) -> None:
    while said := os.read(0, 1):
        if said == b"p":
            goes.clear()
        else:
            goes.set()
    os._exit(0)


def _note(progress: UploadProgress) -> UploadNote:
    return UploadNote(
        sent_bytes=progress.sent_bytes,
        size_bytes=progress.size_bytes,
        episodes=progress.episodes,
    )


def _say(note: UploadNote) -> None:
    os.write(1, msgspec.json.encode(note) + b"\n")


if __name__ == "__main__":
    main()

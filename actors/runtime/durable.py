"""Files that outlast a power cut, once `settle` has returned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ... import disk


class Settling:
    """`wait`, which takes as long as a disk does, in a thread: a program that waits for it can go
    on where the disk hangs."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait = wait
        self._fault: str | None = None
        # Not waited for at the end: a disk that hangs would hold the process.
        self._thread = threading.Thread(target=self._run, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the system has no more
            self._fault = str(error)

    def _run(self) -> None:
        try:
            self._wait()
            self._fault = ""
        except OSError as error:
            self._fault = str(error)

    @property
    def is_over(self) -> bool:
        return self._fault is not None

    def fault(self, until_s: float = 0.0) -> str:
        """Why it may not outlast a power cut; empty if it does. Waits for the disk until the
        instant `until_s` of the monotonic clock."""
        if self._fault is None:
            self._thread.join(max(0.0, until_s - time.monotonic()))
        return "the disk has not answered yet" if self._fault is None else self._fault


def settle(files: Iterable[Path]) -> None:
    """Wait until what `files` hold, and that they are in their folders, or are not, is on the disk.
    Takes as long as the disk does: not for a loop that others wait for. Raises OSError."""
    files = list(files)
    for file in files:
        with suppress(FileNotFoundError):
            disk.sync(file)
    # Also where the folder is: it may be as new as the file.
    for folder in {each for file in files for each in (file.parent, file.parent.parent)}:
        with suppress(FileNotFoundError):
            disk.sync(folder)

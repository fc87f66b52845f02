"""Files that outlast a power cut, once `settle` has returned."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def settle(files: Iterable[Path]) -> None:
    """Wait until what `files` hold, and that they are in their folders, or are not, is on the disk.
    Takes as long as the disk does: not for a loop that others wait for. Raises OSError."""
    files = list(files)
    for file in files:
        with suppress(FileNotFoundError):
            _sync(file)
    # Also where the folder is: it may be as new as the file.
    for folder in {each for file in files for each in (file.parent, file.parent.parent)}:
        with suppress(FileNotFoundError):
            _sync(folder)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

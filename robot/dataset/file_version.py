"""`FileVersion`: a file as it was last written, the key of what is kept of its content."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self


class FileVersion(NamedTuple):
    """The file `path`, last written at `mtime_ns`."""

    path: Path
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """As it is now. Raises OSError."""
        return cls(path, path.stat().st_mtime_ns)

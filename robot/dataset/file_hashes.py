"""`FileHashes`: whether files of a dataset are those that the hub has.

A SHA-256 is computed once: it is kept in the dataset, with the size and the time of the file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from . import recovery
from .commit_plan import STAGING

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

_HASHES = f"{STAGING}/hashes.json"


class FileHashes:
    """Of the dataset in `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._new = False
        try:
            known = (root / _HASHES).read_bytes()
            self._known = msgspec.json.decode(known, type=dict[str, tuple[int, int, str]])
        except (OSError, msgspec.MsgspecError):
            # They are computed again: the file saves time, and holds nothing else.
            self._known = {}

    def same(self, path: str, there: RepoFile | None) -> bool:
        """Whether `there`, a file on the hub or none, has the content of the file `path`."""
        if there is None or there.size != (self._root / path).stat().st_size:
            return False
        if there.lfs is None:
            return same_content((self._root / path).read_bytes(), there)
        return bool(there.lfs.sha256 == self._of(path))

    def keep(self) -> None:
        """Write what was computed. Raises OSError."""
        if self._new:
            recovery.replace_file(self._root, _HASHES, msgspec.json.encode(self._known))
            self._new = False

    def _of(self, path: str) -> str:
        stat = (self._root / path).stat()
        size, at_ns, known = self._known.get(path, (0, 0, ""))
        if (size, at_ns) != (stat.st_size, stat.st_mtime_ns):
            with (self._root / path).open("rb") as file:
                known = hashlib.file_digest(file, "sha256").hexdigest()
            self._known[path] = (stat.st_size, stat.st_mtime_ns, known)
            self._new = True
        return known


def same_content(content: bytes, there: RepoFile | None) -> bool:
    """Whether a file on the hub, or none, has this content."""
    if there is None:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == hashlib.sha256(content).hexdigest())
    blob = hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False)
    return bool(there.blob_id == blob.hexdigest())

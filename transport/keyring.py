"""`FollowedRing`: the keyring of a directory, which follows its files without a restart.

A file that is added lets its owner in; one that is removed shuts it out. A damaged file shuts out
its owner only. A directory that is not there any more changes nothing: a file system that was
unmounted must not disconnect a whole site.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import KeyFileError
from .keys import Keyring, PublicKey, load_public

_Seen = tuple[tuple[str, int, int, int], ...]


class FollowedRing:
    """The `ring` of the `.pub` files of a directory; `problems` has a line for each damaged file.

    Call `follow` periodically: it reads the files again when a time or size changed.
    """

    def __init__(self, directory: Path) -> None:
        """Raises KeyFileError for a damaged file."""
        # Unlike in `follow`: at the start a person is there to correct it.
        self._directory = directory
        self._keys = {path: load_public(path) for path in _files(directory)}
        self.ring = Keyring(self._keys.values())
        self.problems: list[str] = []
        self._seen = _look(directory)

    def follow(self) -> set[bytes] | None:
        """The public keys (Z85) that were revoked, if the directory changed; else None."""
        if not self._directory.is_dir():
            return None
        seen = _look(self._directory)
        if seen == self._seen:
            return None
        self._seen = seen
        before = {key.public for key in self._keys.values()}
        self._keys, self.problems = {}, []
        taken: dict[bytes, PublicKey] = {}
        for path in _files(self._directory):
            try:
                key = load_public(path)
            except KeyFileError as problem:
                self.problems.append(str(problem))
                continue
            other = taken.setdefault(key.public, key)
            if other.peer != key.peer:
                words = f"{path} has the key of {other.peer}, and is not used: make each its own"
                self.problems.append(words)
                continue
            self._keys[path] = key
        self.ring = Keyring(self._keys.values())
        return before - set(taken)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.pub"))


def _look(directory: Path) -> _Seen:
    found = []
    for path in _files(directory):
        try:
            stat = path.stat()
        except OSError:
            continue  # it was removed meanwhile
        found.append((path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)

"""`FollowedRing`: the keyring of a directory, as the directory is now.

A file that is added lets its holder in and one that is removed shuts it out, without a restart.
What is wrong with a file costs its holder the way in and nobody else anything. A directory that is
not there any more changes nothing: a file system that went away must not cut a whole site.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import KeyFileError
from .keys import Keyring, PublicKey, load_public

_Seen = tuple[tuple[str, int, int, int], ...]


class FollowedRing:
    """Call `follow` now and then: it looks at the files' times and sizes, and reads them anew when
    one changed.

    `problems`: what is wrong with files of the directory, a line for each.
    """

    def __init__(self, directory: Path) -> None:
        """Raises KeyProblem for a file that is no key: at the start a person can mend it."""
        self._directory = directory
        self._keys = {path: load_public(path) for path in _files(directory)}
        self.ring = Keyring(self._keys.values())
        self.problems: list[str] = []
        self._seen = _look(directory)

    def follow(self) -> set[bytes] | None:
        """The public keys (Z85) that are let in no more, if the directory changed; else None."""
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
            continue  # it went just now
        found.append((path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)

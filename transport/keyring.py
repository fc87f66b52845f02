"""`FollowedRing`: the keyring of a directory, which follows its files without a restart. It has the
keys that were put there (`*.pub`), those that peers enrolled (`enrolled/*/*.pub`), and those of
tokens (`tokens/*.pub`), without those that are listed in `revoked`.

A file that is added lets its owner in; one that is removed shuts it out. A damaged file shuts out
its owner only. A directory that is not there any more changes nothing: a file system that was
unmounted must not disconnect a whole site.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import KeyFileError
from . import key_file
from .enrolment_tokens import load_record
from .keys import KeyOwner, Keyring, PublicKey, Role, load_public

_PATTERNS = ("*.pub", "enrolled/*/*.pub", "tokens/*.pub")
_Seen = tuple[tuple[str, int, int, int], ...]


class FollowedRing:
    """The `ring` of the `.pub` files of a directory; `problems` has a line for each damaged file.

    Call `follow` periodically: it reads the files again when a time or size changed.
    """

    def __init__(self, directory: Path) -> None:
        """Raises KeyFileError for a damaged file."""
        # Unlike in `follow`: at the start a person is there to correct it.
        self._directory = directory
        self._keys = {path: _load(path) for path in _files(directory)}
        self.ring = self._accepted()
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
        before = {k.public for k in self._keys.values() if self.ring.peer(k.public) is not None}
        self._keys, self.problems = {}, []
        taken: dict[bytes, PublicKey] = {}
        for path in _files(self._directory):
            try:
                key = _load(path)
            except KeyFileError as problem:
                self.problems.append(str(problem))
                continue
            other = taken.setdefault(key.public, key)
            if other.peer != key.peer:
                words = f"{path} has the key of {other.peer}, and is not used: make each its own"
                self.problems.append(words)
                continue
            self._keys[path] = key
        self.ring = self._accepted()
        return {key for key in before if self.ring.peer(key) is None}

    def _accepted(self) -> Keyring:
        revoked = {line.encode() for line in key_file.lines_of(self._directory / "revoked")}
        return Keyring(key for key in self._keys.values() if key.public not in revoked)


def _files(directory: Path) -> list[Path]:
    return sorted(path for pattern in _PATTERNS for path in directory.glob(pattern))


def _load(path: Path) -> PublicKey:
    if path.parent.name != "tokens":
        return load_public(path)
    record = load_record(path)
    return PublicKey(KeyOwner(record.id, Role.TOKEN), record.public)


def _look(directory: Path) -> _Seen:
    found = []
    for path in (*_files(directory), directory / "revoked"):
        try:
            stat = path.stat()
        except OSError:
            continue  # it was removed meanwhile
        found.append((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)

"""The private directory of a script: for the sockets of what runs inside it.

It lies below the runtime directory of this user and goes with its owner: when closed, at the end of
a program that did not, and, of a program that was killed, at the start of the next one.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import weakref
from pathlib import Path

from ..runtime.claim import RUNTIME, claim, claimed, own_directory, release
from ..runtime.runtime_dir import LOCK, runtime_base

PREFIX = "script-"


class Scratch:
    """One such directory, `path`, which its owner's open lock keeps. Raises RuntimeDirError when
    the runtime directory cannot be used."""

    def __init__(self) -> None:
        base = runtime_base()
        own_directory(base, RUNTIME)
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        # Locked before it is claimed: what carries the marker and is not locked has no owner.
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        claim(self.path, RUNTIME, lambda entry: entry.name == LOCK)
        self._end = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def close(self) -> None:
        """Remove it. Idempotent; in a forked child, whose parent's it is, it stays."""
        self._end()


def _remove(path: Path, lock: int, owner: int) -> None:
    if os.getpid() == owner:
        release(path, RUNTIME, LOCK)
    os.close(lock)


def _sweep(base: Path) -> None:
    """Remove what scripts left that were killed."""
    for path in base.glob(f"{PREFIX}*"):
        if not claimed(path, RUNTIME):
            continue
        try:
            lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # its owner removes it at this moment
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            release(path, RUNTIME, LOCK)
        except BlockingIOError:
            pass  # its owner runs
        finally:
            os.close(lock)

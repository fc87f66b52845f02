"""Where a running fleet lives on disk: sockets and lock in the runtime directory, logs in the state
directory.

The runtime directory is private to its user (0700) and guarded by a lock on an open file, which the
kernel gives back however its holders die: two supervisors never share it, and what a killed one
left in it never hinders the next. The supervisor's undertaker holds the same lock until the last
actor is gone, so that a new fleet never meets processes of the old one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
import time
from pathlib import Path

SOCKET = "supervisor.sock"
LOCK = "lock"
BURIAL_S = 5.0


class RuntimeProblem(Exception):
    """The runtime directory cannot be used: the message says why and what to do."""


def runtime_base() -> Path:
    """HOLDFAST_RUNTIME, else below XDG_RUNTIME_DIR, else below /tmp by user."""
    if given := os.environ.get("HOLDFAST_RUNTIME"):
        return Path(given)
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "holdfast"
    return Path(f"/tmp/holdfast-{os.getuid()}")


def state_dir(fleet: str) -> Path:
    """Where the fleet's logs are: below HOLDFAST_STATE, else below XDG_STATE_HOME."""
    if given := os.environ.get("HOLDFAST_STATE"):
        return Path(given) / fleet
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "holdfast" / fleet


def running() -> dict[str, Path]:
    """The fleets of this user that run on this machine: name to runtime directory."""
    found: dict[str, Path] = {}
    base = runtime_base()
    if not base.is_dir():
        return found
    for path in sorted(base.iterdir()):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path / SOCKET))
            except OSError:
                continue  # no fleet's directory, or what a killed supervisor left
        found[path.name] = path
    return found


class RuntimeDir:
    """The runtime directory of one fleet, locked. `fd` is the lock's descriptor: whoever inherits
    it holds the lock too."""

    def __init__(self, fleet: str) -> None:
        """Make, lock and empty the directory. Raises RuntimeProblem when it is in use, or another
        user's."""
        self.path = runtime_base() / fleet
        self._make()
        self.fd = self._lock(fleet)
        _empty(self.path)

    def remove(self) -> None:
        """Delete the directory and give up the lock. Idempotent."""
        if self.fd >= 0:
            sweep(self.path)
            os.close(self.fd)
            self.fd = -1

    def _make(self) -> None:
        for path in (self.path.parent, self.path):
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                found = path.lstat()
            except OSError as error:
                raise RuntimeProblem(
                    f"the runtime directory {path} cannot be made ({error.strerror}): set "
                    "HOLDFAST_RUNTIME to a directory of yours"
                ) from error
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise RuntimeProblem(
                    f"{path} is not a directory of yours: set HOLDFAST_RUNTIME to one that is"
                )
        self.path.chmod(0o700)

    def _lock(self, fleet: str) -> int:
        deadline = time.monotonic() + BURIAL_S
        while True:
            self.path.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(fd, 32, 0).decode()
                os.close(fd)
                # While a dead supervisor's last actors are being buried, it is worth the wait.
                if _alive(holder) or time.monotonic() > deadline:
                    raise RuntimeProblem(
                        f"the fleet {fleet!r} runs already (process {holder or 'unknown'}): stop "
                        f"it with `supervisor stop --fleet {fleet}`, or give this one another "
                        "`name:`"
                    ) from None
                time.sleep(0.02)
                continue
            if self._still_there(fd):
                os.ftruncate(fd, 0)
                os.pwrite(fd, str(os.getpid()).encode(), 0)
                return fd
            os.close(fd)  # its last holder removed the directory between our two calls

    def _still_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), (self.path / LOCK).stat())
        except FileNotFoundError:
            return False


def sweep(path: Path) -> None:
    """Remove a runtime directory whose lock the caller holds; the lock's own file goes last, so
    that nobody can lock the directory anew while it is being emptied."""
    _empty(path)
    (path / LOCK).unlink(missing_ok=True)
    try:
        path.rmdir()
    except OSError:
        return  # a new supervisor has made itself at home


def _empty(path: Path) -> None:
    """Remove everything but the lock."""
    for left in path.iterdir() if path.is_dir() else ():
        if left.name == LOCK:
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()

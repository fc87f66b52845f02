"""A running fleet's directories: sockets and lock in the runtime directory, logs in the state
directory.

The runtime directory is private to its user (0700) and guarded by a lock on an open file, which the
kernel releases when its holders die. Guaranteed: two supervisors never share it, and what a killed
one left in it does not hinder the next. The supervisor's cleanup process holds the same lock until
the last actor is gone, so that processes of two fleets of one name never coexist. A directory that
is not empty and not marked as ours (`claim`) is not touched.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from ...errors import RuntimeDirError
from .claim import RUNTIME, claim, empty, own_directory, release

SOCKET = "supervisor.sock"
LOCK = "lock"
CLEANUP_S = 5.0


def runtime_base() -> Path:
    """HOLDFAST_RUNTIME, else below XDG_RUNTIME_DIR, else below /tmp by user."""
    if given := os.environ.get("HOLDFAST_RUNTIME"):
        return Path(given)
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "holdfast"
    return Path(f"/tmp/holdfast-{os.getuid()}")


def state_dir(fleet: str) -> Path:
    """The directory of the fleet's logs: below HOLDFAST_STATE, else below XDG_STATE_HOME."""
    if given := os.environ.get("HOLDFAST_STATE"):
        return Path(given) / fleet
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "holdfast" / fleet


def running() -> dict[str, Path]:
    """The running fleets of this user on this machine: name to runtime directory. Waits for
    none."""
    found: dict[str, Path] = {}
    base = runtime_base()
    if not base.is_dir():
        return found
    for path in sorted(base.iterdir()):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            try:
                probe.connect(str(path / SOCKET))
            except BlockingIOError:
                pass  # its supervisor hangs, and its queue is full
            except OSError:
                continue  # no fleet's directory, or what a killed supervisor left
        found[path.name] = path
    return found


class RuntimeDir:
    """The locked runtime directory of one fleet. `fd` is the lock's descriptor: a process that
    inherits it holds the lock too."""

    def __init__(self, fleet: str) -> None:
        """Create, lock and empty the directory. Raises RuntimeDirError when it is in use, another
        user's, or not empty and not ours."""
        self.path = runtime_base() / fleet
        own_directory(self.path.parent, RUNTIME)
        self.fd = self._lock(fleet)
        empty(self.path, RUNTIME, LOCK)

    def remove(self) -> None:
        """Delete the directory and release the lock. Idempotent."""
        if self.fd >= 0:
            sweep(self.path)
            os.close(self.fd)
            self.fd = -1

    def _lock(self, fleet: str) -> int:
        deadline_s = time.monotonic() + CLEANUP_S
        while True:
            claim(self.path, RUNTIME, _is_lock)
            fd = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                try:
                    self._refuse_if_used(fd, fleet, overdue=time.monotonic() > deadline_s)
                finally:
                    os.close(fd)
                time.sleep(0.02)
                continue
            try:
                if self._still_there(fd):
                    # The last holder may have removed the marker after the first claim.
                    claim(self.path, RUNTIME, _is_lock)
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, str(os.getpid()).encode(), 0)
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # the last holder removed the directory between open and flock

    def _refuse_if_used(self, fd: int, fleet: str, overdue: bool) -> None:
        """Raise RuntimeDirError when the lock's holder is a supervisor, or `overdue` is true.
        Otherwise it is a cleanup process, which ends the actors of a killed supervisor: wait."""
        lock = os.fstat(fd)
        owner = os.pread(fd, 32, 0).decode(errors="replace")
        if owner.isdigit() and _holds(Path("/proc", owner), lock):
            raise RuntimeDirError(
                f"the fleet {fleet!r} runs already (process {owner}): stop it with `supervisor "
                f"stop --fleet {fleet}`, or give this one another `name:`"
            )
        if overdue:
            raise RuntimeDirError(_left_over(fleet, self.path / LOCK, owner, _holders(lock)))

    def _still_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), (self.path / LOCK).stat())
        except FileNotFoundError:
            return False


def sweep(path: Path) -> None:
    """Remove a runtime directory of ours whose lock the caller holds."""
    release(path, RUNTIME, LOCK)


def _is_lock(path: Path) -> bool:
    """Whether `path` is a lock of ours: what is left when its directory is being removed."""
    if path.name != LOCK or path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        content = file.read(33)
    return len(content) < 33 and (not content or content.isdigit())


def _left_over(fleet: str, lock: Path, owner: str, holders: list[int]) -> str:
    """The error about a lock that is held although its supervisor is gone."""
    if not holders:
        return (
            f"{lock} is locked by a process that cannot be seen from here (its supervisor, "
            f"process {owner or 'unknown'}, is gone): end what is left of the fleet {fleet!r}, in "
            "another container or as another user, or give this one another `name:`"
        )
    named = ", ".join(f"process {pid} ({_command(pid)})" for pid in holders)
    return (
        f"{lock} is still held {CLEANUP_S:g} s after its supervisor (process {owner or 'unknown'}) "
        f"ended, by {named}: end it with `kill -9 {' '.join(map(str, holders))}` and start again"
    )


def _holders(lock: os.stat_result) -> list[int]:
    """The processes that have the file `lock` open, as far as this user may see them."""
    others = (p for p in Path("/proc").iterdir() if p.name.isdigit() and int(p.name) != os.getpid())
    return sorted(int(process.name) for process in others if _holds(process, lock))


def _holds(process: Path, lock: os.stat_result) -> bool:
    """Whether `process`, a directory in /proc, has the file `lock` open."""
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                # By name first: a stat of a file on an unreachable network drive would block.
                named = str(descriptor.readlink()).endswith(f"/{LOCK}")
                if named and os.path.samestat(descriptor.stat(), lock):
                    return True
    return False


def _command(pid: int) -> str:
    """The command of process `pid`, shortened, and whether it is stopped."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        name = next((w for w in words if w.startswith(b"holdfast.")), words[0])
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return name.decode(errors="replace") + (", stopped" if state == "T" else "")
    return "ended meanwhile"

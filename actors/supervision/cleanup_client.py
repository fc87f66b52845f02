"""The supervisor's client of the cleanup process."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections.abc import Iterable

from ..runtime.runtime_dir import RuntimeDir
from . import cleanup_process
from .process import Process, exited, spawn

PATIENCE_S = 3.0


class CleanupClient:
    """Starts the cleanup process and sends it the live processes. `environment` is that of every
    process of the fleet, with the fleet's mark."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime
        self._mark = secrets.token_hex(8)
        self._link: cleanup_process.CleanupLink | None = None
        self._pid = 0
        self._pidfd = -1
        self.environment = {**os.environ, cleanup_process.MARK: self._mark}

    @property
    def mark(self) -> str:
        return self._mark

    def open(self, living: Iterable[Process]) -> int:
        """Start a cleanup process that watches `living`; return its pidfd."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link = cleanup_process.CleanupLink(ours)
        # Queued before the spawn: the cleanup process knows every live process when it starts.
        for process in living:
            self.watch(process)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            argv = cleanup_process.argv(self._runtime.path, self._mark)
            # It holds the lock too, until the last actor of a killed supervisor is gone.
            descriptors = {1: null, 2: null, 3: theirs.fileno(), 4: self._runtime.fd}
            self._pid = spawn(argv, dict(os.environ), descriptors)
        finally:
            os.close(null)
            theirs.close()
        self._pidfd = os.pidfd_open(self._pid)
        return self._pidfd

    def flush(self) -> None:
        """Send what the socket had no room for; to be called regularly."""
        if self._link:
            self._link.flush()

    def check(self) -> bool:
        """Ping the cleanup process, about once a second. False if it was frozen and has been
        killed: its pidfd becomes readable when it is to be replaced."""
        if self._link is None or self._link.ping():
            return True
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        return False

    def watch(self, process: Process) -> None:
        if self._link:
            self._link.watch(process.pid, process.pidfd)

    def forget(self, pid: int) -> None:
        if self._link:
            self._link.forget(pid)

    def pids(self) -> set[int]:
        return {self._pid} if self._pid else set()

    def close(self) -> None:
        """Let the cleanup process end, and wait for it. Idempotent."""
        if self._link is None:
            return
        self._link.close()
        self._link = None
        if not exited(self._pidfd, PATIENCE_S):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._pidfd)
        self._pid = 0

"""The cleanup process: no actor outlives its supervisor by more than KILL_AFTER_S.

Actors end by themselves when their link closes; a stopped one, or one that hangs in foreign code,
cannot. The supervisor starts this small process with its lock and sends it the pid and pidfd of
every actor; it answers pings, so that a frozen one is noticed and replaced. When the supervisor is
gone, it waits KILL_AFTER_S, kills the process groups that are left, removes the runtime directory
and ends, which releases the lock.

Guaranteed: no process of another program is killed, although the kernel may reuse a pid. A group is
killed only while its leader's pidfd says that the leader runs, otherwise only those members that
carry the fleet's mark in their environment. Not guaranteed: a process that hides its environment
and outlives its leader is missed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from ..runtime.runtime_dir import sweep

KILL_AFTER_S = 2.0
MARK = "HOLDFAST_MARK"
UNANSWERED = 3
"""The process counts as frozen after so many unanswered pings in a row."""
UNANSWERED_AT_START = 30
CLEANUP_DESCRIPTORS = 16
"""Its own descriptors; beside them it has one for each process that it watches."""
_FORGET, _WATCH, _PING = b"-", b"+", b"?"


class CleanupLink:
    """The supervisor's end. It never blocks: a message that the socket has no room for, because the
    cleanup process does not read, is kept and sent at the next message or `flush`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._unsent: dict[int, int | None] = {}
        """By pid: the pidfd of a process to watch, or None for one to forget."""
        self._unanswered = 0
        self._max_unanswered = UNANSWERED_AT_START

    def watch(self, pid: int, pidfd: int) -> None:
        self._unsent[pid] = pidfd
        self.flush()

    def forget(self, pid: int) -> None:
        """Report that the process was reaped; its pidfd may be closed after this."""
        if self._unsent.get(pid) is not None:
            del self._unsent[pid]
            return
        self._unsent[pid] = None
        self.flush()

    def flush(self) -> None:
        while self._unsent:
            pid, pidfd = next(iter(self._unsent.items()))
            try:
                if pidfd is None:
                    self._sock.send(_FORGET + str(pid).encode())
                else:
                    socket.send_fds(self._sock, [_WATCH + str(pid).encode()], [pidfd])
            except OSError:
                return  # no room now; or it died, and its successor gets every live process
            del self._unsent[pid]

    def ping(self) -> bool:
        """Send a ping, about once a second; False when the process counts as frozen."""
        with contextlib.suppress(OSError):
            while self._sock.recv(16):
                self._unanswered, self._max_unanswered = 0, UNANSWERED
        if self._unanswered >= self._max_unanswered:
            return False
        self._unanswered += 1
        with contextlib.suppress(OSError):
            self._sock.send(_PING)
        return True

    def close(self) -> None:
        self._sock.close()


def argv(rundir: Path, mark: str) -> list[str]:
    """The command line; the socket is descriptor 3, the lock descriptor 4."""
    return [
        sys.executable,
        "-P",
        "-m",
        "holdfast.actors.supervision.cleanup_process",
        str(rundir),
        mark,
    ]


def main(rundir: Path, mark: str, sock: socket.socket) -> None:
    # Ctrl-C is meant for the supervisor; this process ends after it, never before.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watched = _listen(sock)
    _wait(list(watched.values()), KILL_AFTER_S)
    for pid, pidfd in watched.items():
        _kill_group(pid, pidfd, mark)
    _wait(list(watched.values()), 1.0)
    sweep(rundir)


def _listen(sock: socket.socket) -> dict[int, int]:
    """Read the supervisor's messages until its end; return the actors that are left: pid to
    pidfd."""
    watched: dict[int, int] = {}
    while True:
        try:
            message, fds, _, _ = socket.recv_fds(sock, 64, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return watched
        if not message:
            return watched
        if message == _PING:
            with contextlib.suppress(OSError):
                sock.send(_PING, socket.MSG_DONTWAIT)
            continue
        pid = int(message[1:])
        if message[:1] == _WATCH and fds:
            watched[pid] = fds[0]
        elif pid in watched:
            os.close(watched.pop(pid))


def _wait(pidfds: list[int], timeout_s: float) -> None:
    """Wait until all have exited, at most for `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    poller = select.poll()
    left = set(pidfds)
    for pidfd in left:
        poller.register(pidfd, select.POLLIN)
    while left and (left_s := deadline_s - time.monotonic()) > 0:
        for pidfd, _ in poller.poll(left_s * 1000):
            poller.unregister(pidfd)
            left.discard(pidfd)


def _kill_group(pid: int, pidfd: int, mark: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        if not _exited(pidfd):
            # The leader runs, so the group's number is still its own.
            os.killpg(pid, signal.SIGKILL)
            return
    for member in members(pid):
        if marked(member, mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)


def _exited(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def members(session: int) -> list[int]:
    """Pids of the processes in `session`: an actor is the leader of its own."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # After the command's closing bracket: state, ppid, pgrp, session.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    found.append(int(entry.name))
    return found


def marked(pid: int, mark: str) -> bool:
    """Whether the process was started below an actor of the fleet with this `mark`."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], socket.socket(fileno=3))

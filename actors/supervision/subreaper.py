"""The reaper of orphans: processes that an actor started and that outlived it, or that made a
session of their own. As a subreaper the supervisor becomes their parent, and ends them.

A process in the session of a live actor is left alone, whatever its parent. One with a session of
its own (a daemon) is ended as soon as its parent is gone. Processes without the fleet's mark are
not touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

from .cleanup_process import marked

PATIENCE_S = 1.0
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Make this process the parent of every descendant whose own parent dies (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class Subreaper:
    """Ends the orphans of the fleet with this `mark`."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._session = os.getsid(0)

    def sweep(self, sessions: set[int], patient: bool = False) -> int:
        """End and reap this process's children that belong to none of `sessions`; return how many
        are left. With `patient`, wait until they are gone, for PATIENCE_S at most."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            left = sum(self._end(pid, sessions) for pid in _children() - sessions)
            if not left or not patient or time.monotonic() > deadline_s:
                return left
            time.sleep(0.005)

    def _end(self, pid: int, sessions: set[int]) -> bool:
        """End the child `pid` if it is an orphan; True if it is one and still there."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        state, _, _, session = stat.rpartition(")")[2].split()[:4]
        if int(session) in sessions or int(session) == self._session:
            return False
        if state in "ZX":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            return False
        if not marked(pid, self._mark):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True


def _children() -> set[int]:
    """Pids of this process's children, including those that are not reaped yet."""
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(map(int, (thread / "children").read_text().split()))
    return found

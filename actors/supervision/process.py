"""One actor's operating-system process: started by exec, watched by pidfd, ended together with
everything it started.

The process leads a session of its own, so that its group is it and what it started. `reap` kills
what is left of the group before it releases the leader's pid, so that no other process is hit.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Mapping

from ..runtime.supervisor_link import SupervisorLink, pair

LINK_FD = 3


class Process:
    """A started process. `out` and `err` are the reading ends of its log pipes."""

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        preload: str | None = None,
        python: str | None = None,
    ) -> None:
        """Start it, in the interpreter `python` or this one's. Raises OSError when the machine has
        no room for another process."""
        ours, theirs = pair()
        pipes = [*os.pipe(), *os.pipe()]
        self.out, out, self.err, err = pipes
        argv = [python or sys.executable, "-P", "-m", "holdfast.actors.runtime.main", name]
        argv += ["--preload", preload] if preload else []
        try:
            self.pid = spawn(
                argv,
                {**environment, "HOLDFAST_LINK": str(LINK_FD)},
                {1: out, 2: err, LINK_FD: theirs.fileno()},
            )
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            for fd in (self.out, self.err):
                os.close(fd)
            ours.close()
            raise
        finally:
            for fd in (out, err):
                os.close(fd)
            theirs.close()
        self.link = SupervisorLink(ours)
        self.started_s = time.monotonic()
        self.exited: int | None = None

    def terminate(self) -> None:
        """Ask the whole group to end."""
        self._signal_group(signal.SIGTERM)
        self._signal_group(signal.SIGCONT)  # a stopped process does not handle SIGTERM

    def kill(self) -> None:
        self._signal_group(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send one signal to the actor itself."""
        if self.exited is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> int | None:
        """Reap a process whose pidfd is readable: its exit status, or minus the signal. None if it
        has not exited. The pipes and the link stay open, to be read to their end.
        """
        if self.exited is None:
            # Not reaped yet: the pid, and with it the group's number, is still this process's.
            if os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            self._signal_group(signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self.exited = os.waitstatus_to_exitcode(status)
        return self.exited

    def wait(self) -> int:
        """Wait for the exit of a process that was killed, and reap it."""
        while (code := self.reap()) is None:
            exited(self.pidfd, 1.0)
        return code

    def close(self) -> None:
        """Close the descriptors of a process that was reaped."""
        os.close(self.pidfd)
        self.link.close()

    def resident_mb(self) -> float:
        """Private memory in use in megabytes, without shared segments; 0 once it is gone."""
        try:
            with open(f"/proc/{self.pid}/statm") as statm:  # noqa: PTH123  called every second
                _, resident, shared, *_ = map(int, statm.read().split())
        except (OSError, ValueError):
            return 0.0
        return (resident - shared) * _PAGE / 1e6

    def _signal_group(self, number: int) -> None:
        if self.exited is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def exited(pidfd: int, within_s: float) -> bool:
    """Wait for an exit for at most `within_s`; returns whether there was one."""
    waiting = select.poll()  # select takes no descriptor above 1023, which large fleets have
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(within_s * 1000))


_PAGE = os.sysconf("SC_PAGE_SIZE")


def spawn(argv: list[str], environment: Mapping[str, str], descriptors: Mapping[int, int]) -> int:
    """Start `argv` in a session of its own and return its pid. It inherits `descriptors` (number
    there: number here) and no others; its stdin is empty."""
    with contextlib.ExitStack() as stack:
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, null)
        actions = [(os.POSIX_SPAWN_DUP2, null, 0)]
        for there, here in descriptors.items():
            # Above all targets, so that one of them never overwrites the source of the next.
            source = fcntl.fcntl(here, fcntl.F_DUPFD_CLOEXEC, 16)
            stack.callback(os.close, source)
            actions.append((os.POSIX_SPAWN_DUP2, source, there))
        return os.posix_spawn(
            argv[0],
            argv,
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            # Python ignores SIGPIPE and would have its children ignore it too.
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD],
        )

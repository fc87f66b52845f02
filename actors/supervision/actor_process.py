"""What the supervisor holds of one actor, over all its incarnations."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from ..runtime.log import Record
from ..runtime.spec import ActorSpec
from .logstore import Stream
from .process import Process
from .report import ActorFacts
from .segments import Segments
from .supervised import ActorRecord, ActorState

Started = tuple[Process, list[Stream]]


class ActorProcess:
    """One actor: its process, while there is one, and how the last one ended."""

    def __init__(self, actor: ActorSpec, keep: Callable[[Record], None]) -> None:
        self.actor = actor
        self.process: Process | None = None
        self.streams: list[Stream] = []
        self.exit_reason: str | None = None
        self.last_exit: str | None = None
        self._keep = keep
        self._started_s = 0.0

    def start(
        self, incarnation: int, environment: Mapping[str, str], spare: Started | None
    ) -> None:
        """Start a process, or take over `spare`. Raises OSError when the machine has no room for
        another process."""
        self.exit_reason = None
        self._started_s = time.monotonic()
        if spare:
            self.process, self.streams = spare
            for stream in self.streams:
                stream.actor, stream.incarnation = self.actor.name, incarnation
            return
        environment = environment_for(self.actor.kind, environment)
        self.process = Process(self.actor.name, environment, python=self.actor.python)
        self.streams = streams_of(self.process, self.actor.name, incarnation, self._keep)

    def ask(self, drain: bool) -> None:
        """Ask the process to drain, over its link, or to stop, also by SIGTERM in case it no longer
        reads its link."""
        if self.process is None:
            return
        if not drain:
            # Before the command: an actor that stops at once must not get the signal while its
            # interpreter exits, when the handlers are gone.
            self.process.terminate()
        self.process.link.command("drain" if drain else "stop")

    def end(self) -> None:
        """Close what belongs to a process that was reaped, after its last lines."""
        if self.process is None:
            return
        for stream in self.streams:
            stream.drain()
            stream.close()
        self.process.close()
        self.process, self.streams = None, []

    def facts(
        self, actor: ActorRecord, memory: Segments, error: Record | None, now_s: float
    ) -> ActorFacts:
        """The supervisor's part of this actor's row in the status; `actor` is the state machine's
        record, `error` the last error in its log."""
        count, instant_ns = memory.boards[self.actor.name].progress()
        alive, ready = self.process is not None, actor.state is ActorState.READY
        return ActorFacts(
            name=self.actor.name,
            kind=self.actor.kind,
            robot=self.actor.robot,
            pid=self.process.pid if self.process else None,
            uptime_s=now_s - self._started_s if alive else None,
            progress_age_s=now_s - instant_ns / 1e9 if ready and count else None,
            memory_mb=self.process.resident_mb() if self.process else None,
            call=memory.boards[self.actor.name].call() if ready else "",
            last_exit=self.last_exit,
            last_error=error.message if error else None,
            report=memory.report(self.actor.name),
            python=None if self.actor.python == sys.executable else self.actor.python,
        )


def streams_of(
    process: Process, actor: str, incarnation: int, keep: Callable[[Record], None]
) -> list[Stream]:
    """Readers of the process's two log pipes."""
    return [
        Stream(process.out, actor, incarnation, "stdout", keep),
        Stream(process.err, actor, incarnation, "stderr", keep),
    ]


def environment_for(kind: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of a process of `kind`, made of that of the fleet."""
    # Only a policy computes with more than one thread: elsewhere numpy's idle thread pools cost
    # start-up time and memory in every process.
    if kind == "inference":
        return environment
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return one | dict(environment)

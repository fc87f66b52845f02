"""The supervisor: the one process of a host that starts, watches and restarts the others.

It is a shell around `state_machine.step`: a loop over pidfds, links, log pipes and the control
socket, which feeds events to the state machine and carries out its effects.

Guaranteed: the death of an actor is noticed at once (its restart begins within milliseconds); what
an actor started is ended with it; nothing that an actor does blocks the loop; when the supervisor
itself is killed, the cleanup process ends what is left. One thread; `publish` gets copies.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..runtime.log import Record
from ..runtime.runtime_dir import SOCKET, RuntimeDir
from ..runtime.spec import ActorSpec
from . import report
from .control_clients import SERVE_S, ControlClients
from .control_commands import ControlCommands
from .control_socket import ControlSocket
from .emergency_stops import EmergencyStops
from .event_loop import EventLoop, signal_bytes
from .fleet_processes import FleetProcesses
from .headroom import raise_descriptor_limit
from .logstore import LogStore
from .robots_of_actors import robots_of
from .segments import Segments
from .spec_diff import differences
from .starvation import Starvation
from .state_machine import step
from .subreaper import become_subreaper
from .supervised import (
    ActorState,
    Changed,
    ClockTick,
    Faulty,
    Reform,
    Start,
    StopAll,
    SupervisionEffect,
    SupervisionEvent,
    fleet_of,
    ordered,
)

TURN_S = 0.1
PUBLISH_S = 0.25
MEMORY_S = 0.25
STOP_WITHIN_S = 4.0
"""An orderly stop that takes longer is hastened."""

Status = dict[str, Any]
LEVELS = {ActorState.FAILED: "error", ActorState.BACKOFF: "warning", ActorState.STOPPING: "info"}


class Supervisor:
    """Runs `actors` (in start order) until it is stopped and all their processes are gone."""

    def __init__(
        self,
        fleet: str,
        actors: Sequence[ActorSpec],
        runtime: RuntimeDir,
        logs: LogStore,
        publish: Callable[[Status], None] | None = None,
    ) -> None:
        """`publish` gets the status a few times a second and must return at once."""
        raise_descriptor_limit()
        self.fleet = fleet
        self.runtime = runtime
        self.logs = logs
        self.state = fleet_of([actor.member for actor in actors], time.monotonic())
        self.started_s = time.monotonic()
        self.final: Status | None = None
        """The status at the moment the stop began."""
        self.stop_faults: list[str] = []
        """The actors that ended with an error during the stop, a sentence each: a robot that is not
        at its rest."""
        self._publish = publish
        self._emergency_stops = EmergencyStops(logs.path.parent)
        self._events: deque[SupervisionEvent] = deque()
        self._event_loop = EventLoop()
        self.segments = Segments(actors)
        self.robots = robots_of(actors)
        self._commands = ControlCommands(self)
        self.processes = FleetProcesses(
            actors,
            runtime,
            self.segments,
            self._event_loop,
            keep=logs.add,
            warn=lambda message: self.note("warning", message),
            feed=self.feed,
            on_reply=self._commands.delivered.answered,
            on_exit=self._exited,
        )
        self._clients = ControlClients(
            ControlSocket(runtime.path / SOCKET, self._commands.handle), self._event_loop
        )
        self._starvation = Starvation()
        self._next_s = dict.fromkeys(("turn", "publish", "memory"), 0.0)
        self._stop_by_s = float("inf")

    def run(self, duration_s: float | None = None, lifeline: int | None = None) -> Status:
        """Start everything, supervise until stopped (or for `duration_s`, or until the descriptor
        `lifeline` is at its end), stop everything; return the status at the moment the stop began.
        Main thread only: it takes the signals."""
        with signal_bytes() as wakeup:
            try:
                self._setup(wakeup)
                if lifeline is not None:
                    self._event_loop.add(lifeline, lambda: self._on_lifeline(lifeline))
                deadline_s = self.started_s + duration_s if duration_s else float("inf")
                self.feed(Start())
                while not self.state.gone:
                    self._poll()
                    if time.monotonic() >= deadline_s and not self.state.stopping:
                        self.stop("the duration is over")
                self._show()
            finally:
                self._teardown()
        assert self.final is not None, "a fleet is gone only after a stop"
        return self.final

    def stop(self, reason: str) -> None:
        """Begin the end; a second call hastens it."""
        if not self.state.stopping:
            self.note("info", f"stopping: {reason}")
            self.final = self.status()
            self._stop_by_s = time.monotonic() + STOP_WITHIN_S
            self.feed(StopAll())
        elif not self.state.hastened:
            self.note("warning", f"stopping by force: {reason}")
            self.feed(StopAll(hasten=True))

    def reform(self, actors: Sequence[ActorSpec]) -> None:
        """Supervise `actors` from now on; the unchanged ones keep their processes. All or nothing:
        raises ValueError for a list that cannot be supervised and SegmentError when the machine has
        no room for it, before anything was changed."""
        members = tuple(ordered(actor.member for actor in actors).values())
        robots = robots_of(actors)
        difference = differences(self.specs(), actors)
        self.segments.adapt(actors)  # the last thing that can fail
        self.processes.adapt(actors)
        self.robots = robots
        unread = (n for n in difference.reconfigured if not self.processes.reconfigure(n))
        self.feed(Reform(members, frozenset((*difference.changed, *unread))))

    def specs(self) -> list[ActorSpec]:
        """The fleet's actors, without those that are being removed."""
        retired = self.state.retired
        return [held.actor for name, held in self.processes.items() if name not in retired]

    def feed(self, event: SupervisionEvent) -> None:
        """Take a step of the state machine and carry out its effects. Events fed by an effect are
        handled after it."""
        self._events.append(event)
        if len(self._events) > 1:
            return  # a call further up the stack handles them
        try:
            while self._events:
                self._take_step(self._events[0])
                self._events.popleft()
        finally:
            self._events.clear()  # one that failed must not hold up all that come after it

    def note(self, level: str, message: str) -> None:
        """Log a record of the supervisor's own."""
        self.logs.add(Record(t=time.time(), level=level, actor="supervisor", message=message))

    def status(self) -> Status:
        """The status object, see `report`."""
        now_s = time.monotonic()
        actors = self.state.actors
        facts = [
            held.facts(actors[name], self.segments, self.logs.errors.get(name), now_s)
            for name, held in self.processes.items()
            if name in actors
        ]
        body = report.status(
            self.fleet,
            now_s - self.started_s,
            facts,
            actors,
            self.robots,
            self.state.members,
            now_s,
            report.LogFacts(str(self.logs.path), self.logs.lost, self.logs.error),
            self._emergency_stops.of(self.robots),
            self._emergency_stops.elsewhere,
        )
        return body | {"spares": self.processes.helpers.report()}

    def _exited(self, actor: str, how: str, code: int) -> None:
        if self.state.stopping and code > 0:
            self.stop_faults.append(f"{actor} {how}")
        self._commands.delivered.exited(actor, how)

    # The loop.

    def _setup(self, wakeup: int) -> None:
        become_subreaper()
        self._event_loop.add(wakeup, lambda: self._on_signal(wakeup))
        self._clients.open()
        self.processes.helpers.start_cleanup_process()
        self.note("info", f"supervisor of {self.fleet!r} started, process {os.getpid()}")

    def _poll(self) -> None:
        timeout_s = max(0.0, self._next_s["turn"] - time.monotonic())
        if self._clients.serve():
            timeout_s = min(timeout_s, SERVE_S)
        self._event_loop.poll(timeout_s)
        if time.monotonic() >= self._next_s["turn"]:
            self._turn(time.monotonic())

    def _turn(self, now_s: float) -> None:
        """The periodic work: boards, the state machine's timers, helpers, log, view."""
        self._next_s["turn"] = now_s + TURN_S
        self._event_loop.unmute()
        boards = self.segments.boards
        progress = {name: boards[name].progress()[0] for name in boards}
        calls = {name: call for name in boards if (call := boards[name].call())}
        starved_s = self._starvation.take(self.processes.in_question(self.state, now_s))
        self.feed(ClockTick(progress, calls, starved_s))
        for name in self.processes.forget_all_but(self.state.actors):
            self.segments.forget(name)
        if now_s >= self._stop_by_s and not self.state.hastened:
            self.stop(f"an orderly stop took longer than {STOP_WITHIN_S:g} s")
        if now_s >= self._next_s["memory"]:
            self._next_s["memory"] = now_s + MEMORY_S
            self._check_memory()
        if now_s >= self._next_s["publish"]:
            self._next_s["publish"] = now_s + PUBLISH_S
            self._show()
        self.processes.helpers.turn(now_s, self._calm())
        self._commands.delivered.expire(now_s)
        self.logs.flush()

    def _show(self) -> None:
        """Give the status to whatever shows it."""
        if self._publish or self.segments.host_board:
            status = self.status()
            if self._publish:
                self._publish(status)
            if self.segments.host_board:
                self.segments.host_board.write(status["actors"])

    def _teardown(self) -> None:
        """End every process of the fleet, however the loop ended."""
        self.processes.close()
        self._commands.ended(self.stop_faults)
        self._clients.close()
        self._event_loop.close()
        self._starvation.close()
        self.segments.close()
        self.note("info", "all actors are gone")
        self.logs.close()
        self.runtime.remove()

    def _calm(self) -> bool:
        """Whether no actor starts, so that a spare's imports delay none."""
        coming = (ActorState.STARTING, ActorState.WAITING)
        return not self.state.stopping and not any(
            actor.state in coming for actor in self.state.actors.values()
        )

    def _check_memory(self) -> None:
        for name, held in self.processes.items():
            limit = held.actor.memory_mb
            if limit and held.process and (used := held.process.resident_mb()) > limit:
                fault = f"uses {used:.0f} MB of memory, its limit is {limit}"
                self.feed(Faulty(name, self.state.actors[name].incarnation, fault))

    def _take_step(self, event: SupervisionEvent) -> None:
        self.state, effects = step(self.state, event, time.monotonic(), random.random())
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: SupervisionEffect) -> None:
        if isinstance(effect, Changed):
            reason = f" ({effect.reason})" if effect.reason else ""
            level = LEVELS.get(effect.new, "info")
            self.note(level, f"{effect.name}: {effect.old} -> {effect.new}{reason}")
        else:
            self.processes.carry_out(effect)

    def _on_signal(self, wakeup: int) -> None:
        for number in os.read(wakeup, 64):
            if number == signal.SIGCHLD:
                self.processes.helpers.end_orphans()
            else:
                self.stop(f"{signal.Signals(number).name} received")

    def _on_lifeline(self, lifeline: int) -> None:
        if not os.read(lifeline, 4096):
            self._event_loop.forget(lifeline)
            self.stop("the program that started it is gone")

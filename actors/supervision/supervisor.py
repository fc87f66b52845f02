"""The supervisor: the one process of a host that starts, watches and restarts the others.

It is a shell around `supervision.step`: a loop over pidfds, links, log pipes and the control
socket, which feeds events to the core and carries out its effects. It decides nothing by itself.

Guaranteed: the death of an actor is noticed at once (its restart begins within milliseconds); what
an actor started dies with it; nothing an actor does or fails to do blocks the loop; when the
supervisor itself is killed, the cleanup process sees to the rest. One thread; the view gets copies.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ..runtime.log import Record
from ..runtime.release import release
from ..runtime.runtime_dir import SOCKET, RuntimeDir
from ..runtime.spec import ActorSpec
from ..runtime.supervisor_link import BootMessage, CommandReply, ExitReason, ReadyMessage
from . import report
from .actor_process import ActorProcess
from .cleanup_client import CleanupClient
from .control_commands import ControlCommands
from .control_socket import MAX_CLIENTS, ControlClient, ControlSocket
from .event_loop import EventLoop
from .headroom import raise_descriptor_limit
from .logstore import LogStore
from .segments import Segments
from .spares import Spares
from .spec_diff import differences
from .state_machine import exit_text, step
from .subreaper import Subreaper, become_subreaper
from .supervised import (
    ActorReady,
    ActorState,
    AskToStop,
    Changed,
    ClockTick,
    Exited,
    Faulty,
    Kill,
    Reform,
    Spawn,
    Start,
    StopAll,
    SupervisionEffect,
    SupervisionEvent,
    fleet_of,
    ordered,
)

TURN_S = 0.1
PUBLISH_S = 0.25
SERVE_S = 0.005
ACCEPTED_PER_TURN = 32
MEMORY_S = 0.25
SPARE_S = 1.0
"""Between the starts of two spares: each gets the processor to itself."""
LONGEST_HANG_S = 600.0
"""The most that an actor may ask for."""
HELPERS_S = 1.0
STOP_WITHIN_S = 4.0
"""An orderly stop that takes longer is hastened."""

Status = dict[str, Any]
LEVELS = {ActorState.FAILED: "error", ActorState.BACKOFF: "warning", ActorState.STOPPING: "info"}


class Supervisor:
    """Runs `actors` (in start order) until it is told to stop and all are gone."""

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
        self.core = fleet_of([actor.member for actor in actors], time.monotonic())
        self.started_s = time.monotonic()
        self.final: Status | None = None
        """The status at the moment the stop began."""
        self._publish = publish
        self._events: deque[SupervisionEvent] = deque()
        self._event_loop = EventLoop()
        self.memory = Segments(actors)
        self.running = {actor.name: ActorProcess(actor, logs.add) for actor in actors}
        self.robots = _robots(actors)
        self._cleanup = CleanupClient(runtime)
        self._spares = Spares(actors, self._cleanup.environment, logs.add)
        self._subreaper = Subreaper(self._cleanup.mark)
        self._commands = ControlCommands(self)
        self._next_s = dict.fromkeys(("turn", "publish", "memory", "spare", "helpers"), 0.0)
        self._stop_by_s = float("inf")
        self._clients: list[ControlClient] = []
        self._control_socket = ControlSocket(runtime.path / SOCKET, self._commands.handle)

    # The loop.

    def run(self, duration_s: float | None = None, lifeline: int | None = None) -> Status:
        """Start everything, supervise until stopped (or for `duration_s`, or until the descriptor
        `lifeline` is at its end), stop everything; return the status at the moment the stop began.
        Main thread only: it takes the signals."""
        with self._signals() as wakeup:
            try:
                self._setup(wakeup)
                if lifeline is not None:
                    self._event_loop.add(lifeline, lambda: self._on_lifeline(lifeline))
                deadline_s = self.started_s + duration_s if duration_s else float("inf")
                self.feed(Start())
                while not self.core.gone:
                    self._poll()
                    if time.monotonic() >= deadline_s and not self.core.stopping:
                        self.stop("the duration is over")
            finally:
                self._teardown()
        assert self.final is not None, "a fleet is gone only after a stop"
        return self.final

    def stop(self, reason: str) -> None:
        """Begin the end; said again, hasten it."""
        if not self.core.stopping:
            self.note("info", f"stopping: {reason}")
            self.final = self.status()
            self._stop_by_s = time.monotonic() + STOP_WITHIN_S
            self.feed(StopAll())
        elif not self.core.hastened:
            self.note("warning", f"stopping by force: {reason}")
            self.feed(StopAll(hasten=True))

    def reform(self, actors: Sequence[ActorSpec]) -> None:
        """Become the supervisor of `actors`: whom nothing changes for, runs on. All or nothing:
        raises ValueError for a list that cannot be supervised and SegmentError when the machine has
        no room for it, before anything was changed."""
        members = tuple(ordered(actor.member for actor in actors).values())
        robots = _robots(actors)
        difference = differences(self.specs(), actors)
        self.memory.adapt(actors)  # the last thing that can fail
        for actor in actors:
            if actor.name in self.running:
                self.running[actor.name].actor = actor
            else:
                self.running[actor.name] = ActorProcess(actor, self.logs.add)
        self.robots = robots
        self._spares.adapt(actors)
        self.feed(Reform(members, frozenset(difference.changed)))

    def specs(self) -> list[ActorSpec]:
        """What the fleet consists of now."""
        return [
            running.actor for name, running in self.running.items() if name not in self.core.retired
        ]

    def feed(self, event: SupervisionEvent) -> None:
        """Give the core an event and carry out what it says; events of that come after it."""
        self._events.append(event)
        if len(self._events) > 1:
            return  # a feed further up the stack is at it
        try:
            while self._events:
                self._take_step(self._events[0])
                self._events.popleft()
        finally:
            self._events.clear()  # one that failed must not hold up all that come after it

    def _take_step(self, event: SupervisionEvent) -> None:
        self.core, effects = step(self.core, event, time.monotonic(), random.random())
        for effect in effects:
            self._carry_out(effect)

    def note(self, level: str, message: str) -> None:
        """Log a word of the supervisor's own."""
        self.logs.add(Record(t=time.time(), level=level, actor="supervisor", message=message))

    def status(self) -> Status:
        """The status object, see `report`."""
        now_s = time.monotonic()
        facts = [
            running.facts(self.core.actors[name], self.memory, self.logs.errors.get(name), now_s)
            for name, running in self.running.items()
            if name in self.core.actors
        ]
        core = self.core
        log = report.LogFacts(str(self.logs.path), self.logs.lost, self.logs.error)
        body = report.status(
            self.fleet,
            now_s - self.started_s,
            facts,
            core.actors,
            self.robots,
            core.members,
            now_s,
            log,
        )
        return body | {"spares": self._spares.report()}

    def _poll(self) -> None:
        timeout_s = max(0.0, self._next_s["turn"] - time.monotonic())
        if self._serve():
            timeout_s = min(timeout_s, SERVE_S)
        self._event_loop.poll(timeout_s)
        if time.monotonic() >= self._next_s["turn"]:
            self._turn(time.monotonic())

    def _turn(self, now_s: float) -> None:
        """What is done by the clock: boards, the core's timers, the log, the view."""
        self._next_s["turn"] = now_s + TURN_S
        self._event_loop.unmute()
        boards = self.memory.boards
        self.feed(ClockTick({name: boards[name].progress()[0] for name in boards}))
        for name in self.running.keys() - self.core.actors.keys():
            del self.running[name]
            self.memory.forget(name)
        if now_s >= self._stop_by_s and not self.core.hastened:
            self.stop(f"an orderly stop took longer than {STOP_WITHIN_S:g} s")
        if now_s >= self._next_s["memory"]:
            self._next_s["memory"] = now_s + MEMORY_S
            self._check_memory()
        if self._publish and now_s >= self._next_s["publish"]:
            self._next_s["publish"] = now_s + PUBLISH_S
            self._publish(self.status())
        calm = self._calm() and not self.core.stopping
        modules = self._spares.missing(now_s, calm)
        if modules and now_s >= self._next_s["spare"]:
            self._next_s["spare"] = now_s + SPARE_S
            self._prepare(modules)
        if now_s >= self._next_s["helpers"]:
            self._next_s["helpers"] = now_s + HELPERS_S
            self._check_helpers(now_s)
        self._commands.expire(now_s)
        self._cleanup.flush()
        self.logs.flush()

    def _setup(self, wakeup: int) -> None:
        become_subreaper()
        self._event_loop.add(wakeup, lambda: self._on_signal(wakeup))
        self._event_loop.add(self._control_socket.listener.fileno(), self._on_client)
        self._start_cleanup_process()
        self.note("info", f"supervisor of {self.fleet!r} started, process {os.getpid()}")

    def _teardown(self) -> None:
        """Whatever happened: nothing of the fleet is left after this."""
        for running in self.running.values():
            if running.process:
                running.process.kill()
                running.process.wait()
                self._release(running)
        self._spares.close()
        self._cleanup.close()
        self._subreaper.sweep(set(), patient=True)
        self._serve()
        for client in self._clients:
            client.sock.close()
        self._control_socket.close()
        self._event_loop.close()
        self.memory.close()
        self.note("info", "all actors are gone")
        self.logs.close()
        self.runtime.remove()

    # Effects.

    def _carry_out(self, effect: SupervisionEffect) -> None:
        match effect:
            case Spawn(name, incarnation):
                self._spawn(self.running[name], incarnation)
            case AskToStop(name, _, drain):
                self.running[name].ask(drain)
            case Kill(name, _):
                if process := self.running[name].process:
                    process.kill()
            case Changed(name, old, new, reason):
                words = f"{name}: {old} -> {new}" + (f" ({reason})" if reason else "")
                self.note(LEVELS.get(new, "info"), words)

    def _spawn(self, running: ActorProcess, incarnation: int) -> None:
        actor = running.actor
        entries, fds = self.memory.table(actor)
        boot = BootMessage(
            kind=actor.kind,
            name=actor.name,
            incarnation=incarnation,
            rundir=str(self.runtime.path),
            config=actor.config,
            segments=entries,
            release=release(),
        )
        try:
            warm = self._spares.take(actor.warm)
            if warm:
                self._event_loop.forget_process(*warm)
            running.start(incarnation, self._cleanup.environment, warm)
            assert running.process is not None
            self._cleanup.watch(running.process)
            running.process.link.boot(boot, fds)
        except OSError as error:
            # No process, or one that died before its boot: its pidfd tells of the second itself.
            if running.process is None:
                self.feed(Exited(actor.name, incarnation, None, f"cannot be started: {error}"))
                return
        self._event_loop.add(running.process.pidfd, lambda: self._on_exit(running, incarnation))
        self._event_loop.add(
            running.process.link.fileno(), lambda: self._on_link(running, incarnation)
        )
        for stream in running.streams:
            self._event_loop.add_stream(stream)

    # Events.

    def _on_exit(self, running: ActorProcess, incarnation: int) -> None:
        process = running.process
        if process is None or (code := process.reap()) is None:
            return
        self._on_link(running, incarnation)
        reason = running.exit_reason if code > 0 else None
        running.last_exit = exit_text(code, reason)
        self._release(running)
        self._commands.exited(running.actor.name, running.last_exit)
        self.feed(Exited(running.actor.name, incarnation, code, reason))
        self._subreaper.sweep(self._sessions())

    def _release(self, running: ActorProcess) -> None:
        """Release a reaped process: read its last lines, close its descriptors."""
        process = running.process
        assert process is not None
        self._event_loop.forget_process(process, running.streams)
        self._cleanup.forget(process.pid)
        running.end()

    def _on_link(self, running: ActorProcess, incarnation: int) -> None:
        process = running.process
        if process is None:
            return
        said, closed = process.link.messages()
        if closed:
            self._event_loop.forget(process.link.fileno())
        for message in said:
            match message:
                case ReadyMessage(_, hang_timeout_s):
                    timeout_s = min(hang_timeout_s, LONGEST_HANG_S)
                    self.feed(ActorReady(running.actor.name, incarnation, timeout_s))
                case CommandReply():
                    self._commands.answered(running.actor.name, message)
                case ExitReason(reason):
                    running.exit_reason = reason

    def _on_signal(self, wakeup: int) -> None:
        for number in os.read(wakeup, 64):
            if number == signal.SIGCHLD:
                self._subreaper.sweep(self._sessions())
            else:
                self.stop(f"{signal.Signals(number).name} received")

    def _on_lifeline(self, lifeline: int) -> None:
        if not os.read(lifeline, 4096):
            self._event_loop.forget(lifeline)
            self.stop("whoever started it is gone")

    def _on_client(self) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            client = self._control_socket.accept()
            if client is None:
                break
            self._clients.append(client)
            self._event_loop.add(client.sock.fileno(), partial(self._control_socket.read, client))
        excess = len(self._clients) - MAX_CLIENTS
        if excess > 0:
            for client in sorted(self._clients, key=lambda client: client.heard_s)[:excess]:
                client.closed = True
            self._serve()

    def _serve(self) -> bool:
        """Answer what clients asked at once, each in turn and not for long; send what they have not
        taken yet, part with those who are done. True if something is left to do."""
        for client in self._clients:
            client.flush()
        deadline_s = time.monotonic() + SERVE_S
        waiting = (client for client in self._clients if client.waiting)
        turn = deque(sorted(waiting, key=lambda client: client.served_s))
        while turn and time.monotonic() < deadline_s:
            client = turn.popleft()
            self._control_socket.answer(client)
            if client.waiting:
                turn.append(client)
        for client in self._clients:
            if client.closed:
                self._event_loop.forget(client.sock.fileno())
                client.sock.close()
        self._clients = [client for client in self._clients if not client.closed]
        return any(client.outbox or client.waiting for client in self._clients)

    def _check_memory(self) -> None:
        for name, running in self.running.items():
            limit = running.actor.memory_mb
            if limit and running.process and (used := running.process.resident_mb()) > limit:
                fault = f"uses {used:.0f} MB of memory, its limit is {limit}"
                self.feed(Faulty(name, self.core.actors[name].incarnation, fault))

    # The spare, the cleanup process and the descriptors.

    def _calm(self) -> bool:
        """Nobody is starting: a spare's imports take nothing from anybody."""
        return not any(
            actor.state in (ActorState.STARTING, ActorState.WAITING)
            for actor in self.core.actors.values()
        )

    def _prepare(self, modules: str) -> None:
        spare = self._spares.prepare(modules)
        if spare is None:
            return
        process = spare.process
        self._cleanup.watch(process)

        def on_exit() -> None:
            self._event_loop.forget_process(process, spare.streams)
            self._cleanup.forget(process.pid)
            self._spares.lost(spare, time.monotonic())

        self._event_loop.add(process.pidfd, on_exit)
        for stream in spare.streams:
            self._event_loop.add_stream(stream)

    def _check_helpers(self, now_s: float) -> None:
        """See to it that those live who have nothing to do until somebody dies."""
        for said in self._spares.check(now_s):
            self.note("warning", said)
        if not self._cleanup.check():
            self.note("warning", "the cleanup process is frozen and is killed")

    def _start_cleanup_process(self) -> None:
        """Start it; start another if it dies, which tells that one of everybody alive."""
        pidfd = self._cleanup.open([r.process for r in self.running.values() if r.process])

        def on_exit() -> None:
            self._event_loop.forget(pidfd)
            self._cleanup.close()
            self.note("warning", "the cleanup process died and is replaced")
            self._start_cleanup_process()

        self._event_loop.add(pidfd, on_exit)

    def _sessions(self) -> set[int]:
        """Sessions whose members belong to a live actor."""
        pids = {running.process.pid for running in self.running.values() if running.process}
        return pids.union(self._cleanup.pids(), self._spares.pids())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        """Turn signals into bytes on a descriptor for as long as the block runs."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        # What is ignored stays ignored: that is how `nohup` asks to outlive the terminal.
        before = {
            number: signal.signal(number, lambda *_: None)
            for number in numbers
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)


def _robots(actors: Sequence[ActorSpec]) -> list[str]:
    """The robots among `actors`. Raises ValueError for one without a control actor: every robot's
    status is its control's."""
    robots = list(dict.fromkeys(actor.robot for actor in actors if actor.robot))
    names = {actor.name for actor in actors}
    for robot in robots:
        if f"{robot}/control" not in names:
            raise ValueError(f"robot {robot!r} has no actor {robot}/control among its own")
    return robots

"""Every process below the supervisor: one for each running actor, and the helpers.

It carries out the effects of the state machine on processes, and turns their exits and messages
into events. It decides nothing, and no process that it started outlives `close`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, ItemsView, Sequence

from ..runtime.link_messages import (
    BootMessage,
    CommandReply,
    ExitReason,
    ReadyMessage,
    Reconfiguration,
)
from ..runtime.log import Record
from ..runtime.release import release
from ..runtime.runtime_dir import RuntimeDir
from ..runtime.spec import ActorSpec
from .actor_process import ActorProcess
from .event_loop import EventLoop
from .helper_processes import HelperProcesses
from .process import Process
from .restart_policy import exit_text, in_question
from .segments import Segments
from .spec_diff import taken_over
from .supervised import (
    ActorReady,
    AskToStop,
    Exited,
    FleetState,
    Kill,
    Spawn,
    SupervisionEvent,
)

LONGEST_HANG_S = 600.0
"""The longest hang timeout that an actor may ask for."""


class FleetProcesses:
    """The processes of `actors`, by name of actor, whether they run or not.

    `feed` takes events for the state machine, `keep` records of the log. `on_reply` gets (actor,
    answer to a command), `on_exit` (actor, how its process ended, its code as in `Exited`).
    """

    def __init__(
        self,
        actors: Sequence[ActorSpec],
        runtime: RuntimeDir,
        segments: Segments,
        event_loop: EventLoop,
        keep: Callable[[Record], None],
        warn: Callable[[str], None],
        feed: Callable[[SupervisionEvent], None],
        on_reply: Callable[[str, CommandReply], None],
        on_exit: Callable[[str, str, int], None],
    ) -> None:
        self._runtime = runtime
        self._segments = segments
        self._event_loop = event_loop
        self._keep = keep
        self._feed = feed
        self._on_reply = on_reply
        self._on_exit = on_exit
        self._actors = {actor.name: ActorProcess(actor, keep) for actor in actors}
        self.helpers = HelperProcesses(actors, runtime, event_loop, self.living, keep, warn)

    def __getitem__(self, actor: str) -> ActorProcess:
        return self._actors[actor]

    def items(self) -> ItemsView[str, ActorProcess]:
        return self._actors.items()

    def living(self) -> list[Process]:
        """The processes of the actors that have one."""
        return [held.process for held in self._actors.values() if held.process]

    def in_question(self, fleet: FleetState, now_s: float) -> dict[str, int]:
        """The processes of the actors that are `in_question`: pids by name."""
        return {
            name: held.process.pid
            for name, held in self._actors.items()
            if held.process
            and name in fleet.actors
            and in_question(fleet.actors[name], held.actor.member.rules, now_s)
        }

    def adapt(self, actors: Sequence[ActorSpec]) -> None:
        """Take over new specifications; running processes are not touched."""
        for actor in actors:
            if actor.name in self._actors:
                self._actors[actor.name].actor = actor
            else:
                self._actors[actor.name] = ActorProcess(actor, self._keep)
        self.helpers.adapt(actors)

    def reconfigure(self, name: str) -> bool:
        """Have the actor's process, if there is one, take over what it can of its specification;
        False if it cannot be sent that."""
        held = self._actors[name]
        if held.process is None:
            return True
        actor = held.actor
        entries, fds = self._segments.table(taken_over(actor))
        names = tuple(use.name for use in actor.segments)
        return held.process.link.reconfigure(Reconfiguration(actor.config, names, entries), fds)

    def forget_all_but(self, actors: Collection[str]) -> list[str]:
        """Forget actors that are removed and have no process; returns their names."""
        removed = [name for name in self._actors if name not in actors]
        for name in removed:
            del self._actors[name]
        return removed

    def carry_out(self, effect: Spawn | AskToStop | Kill) -> None:
        """Carry out an effect on the process of its actor."""
        held = self._actors[effect.name]
        match effect:
            case Spawn(_, incarnation, forgiven):
                self._spawn(held, incarnation, forgiven)
            case AskToStop(_, _, drain):
                held.ask(drain)
            case Kill():
                if held.process:
                    held.process.kill()

    def close(self) -> None:
        """Kill and reap every process, the helpers' and the orphans' included."""
        for held in self._actors.values():
            if held.process:
                held.process.kill()
                held.process.wait()
                self._release(held)
        self.helpers.close()

    def _spawn(self, held: ActorProcess, incarnation: int, forgiven: bool) -> None:
        actor = held.actor
        entries, fds = self._segments.table(actor)
        boot = BootMessage(
            kind=actor.kind,
            name=actor.name,
            incarnation=incarnation,
            rundir=str(self._runtime.path),
            config=actor.config,
            segments=entries,
            release=release(),
            forgiven=forgiven,
        )
        try:
            spare = self.helpers.take_spare(actor.warm)
            held.start(incarnation, self.helpers.environment, spare)
            assert held.process is not None
            self.helpers.watch(held.process)
            held.process.link.boot(boot, fds)
        except OSError as error:
            # A process that died before its boot is reported by its pidfd.
            if held.process is None:
                self._feed(Exited(actor.name, incarnation, None, f"cannot be started: {error}"))
                return
        loop, process = self._event_loop, held.process
        loop.add(process.pidfd, lambda: self._reap(held, incarnation))
        loop.add(process.link.fileno(), lambda: self._read_link(held, incarnation))
        for stream in held.streams:
            loop.add_stream(stream)

    def _reap(self, held: ActorProcess, incarnation: int) -> None:
        process = held.process
        if process is None or (code := process.reap()) is None:
            return
        self._read_link(held, incarnation)
        reason = held.exit_reason if code > 0 else None
        held.last_exit = exit_text(code, reason)
        self._release(held)
        self._on_exit(held.actor.name, held.last_exit, code)
        self._feed(Exited(held.actor.name, incarnation, code, reason))
        self.helpers.end_orphans()

    def _release(self, held: ActorProcess) -> None:
        """Release a reaped process: read its last lines, close its descriptors."""
        process = held.process
        assert process is not None
        self._event_loop.forget_process(process, held.streams)
        self.helpers.forget(process.pid)
        held.end()

    def _read_link(self, held: ActorProcess, incarnation: int) -> None:
        process = held.process
        if process is None:
            return
        messages, closed = process.link.messages()
        if closed:
            self._event_loop.forget(process.link.fileno())
        for message in messages:
            match message:
                case ReadyMessage(_, hang_timeout_s):
                    timeout_s = min(hang_timeout_s, LONGEST_HANG_S)
                    self._feed(ActorReady(held.actor.name, incarnation, timeout_s))
                case CommandReply():
                    self._on_reply(held.actor.name, message)
                case ExitReason(reason):
                    held.exit_reason = reason

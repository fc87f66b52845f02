"""The commands of a running fleet's control socket, verb by verb.

`start`, `stop`, `restart` and `drain` are answered as soon as they are accepted; a client that
needs their outcome polls the status. Commands for an actor itself (`pause`, `resume`, `reset`, ...)
are answered by the actor, or with an error after ANSWER_S, those for a recorder after SAVED_S.
`shutdown` with `wait` is answered when every actor has ended, with the `faults` of the stop.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import RequestDeclinedError, SegmentError
from ..runtime.kinds import KINDS
from ..runtime.spec import ActorSpec
from ..runtime.suggestions import closest
from .control_socket import ControlClient
from .delivered_commands import ANSWER_S, DeliveredCommands
from .spec_diff import differences
from .supervised import Restart, Start, Stop, SupervisionEvent

if TYPE_CHECKING:
    from .supervisor import Supervisor

NOTHING_TO_DRAIN = frozenset(KINDS) - {"inference"}
ROBOT_VERBS = ("pause", "resume", "reset", "episode", "task", "take-over", "go-to", "use")
RECORDER_VERBS = (
    "episode_start",
    "episode_stop",
    "episode_discard",
    "episode_rerecord",
    "episode_save",
)
SAVED_S = 120.0
"""How long saving an episode may take, on a slow disk."""


class ControlRequest(msgspec.Struct, frozen=True):
    """One request. Keys that its verb does not use are ignored."""

    do: str
    names: tuple[str, ...] = ()
    args: dict[str, Any] = {}
    signal: str | int = "KILL"
    verb: str = ""
    segment: str = ""
    actors: tuple[ActorSpec, ...] = ()
    dry: bool = False
    wait: bool = False


class ControlCommands:
    """Handles the requests of a supervisor's clients. `delivered`: those that its actors answer."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.delivered = DeliveredCommands(supervisor)
        self._until_end: list[ControlClient] = []
        self._verbs: dict[str, Callable[[ControlClient, ControlRequest], None]] = {
            "status": self._status,
            "places": self._places,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "drain": self._drain,
            "kill": self._kill,
            "graph": self._graph,
            "segments": self._segments,
            "attach": self._attach,
            "shutdown": self._shutdown,
            "reform": self._reform,
            "tell": self._tell,
            **dict.fromkeys(ROBOT_VERBS, self._robot),
            **dict.fromkeys(RECORDER_VERBS, self._recorder),
        }

    def handle(self, client: ControlClient, request: dict[str, Any]) -> None:
        """Answer one request, now or later; a faulty one with an error."""
        try:
            asked = msgspec.convert(request, ControlRequest)
            verb = self._verbs.get(asked.do)
            if verb is None:
                raise RequestDeclinedError(
                    f"no verb {asked.do!r}; {closest(asked.do, self._verbs)}"
                )
            verb(client, asked)
        except msgspec.ValidationError as error:
            client.refuse(f"a request that cannot be understood: {error}")
        except RequestDeclinedError as error:
            client.refuse(str(error))
        except Exception as error:  # noqa: BLE001
            # No request may end a fleet.
            fault = f"{type(error).__name__}: {error}"
            self._supervisor.note("error", f"a request {request.get('do')!r:.100} failed: {fault}")
            client.refuse(f"the supervisor failed over this request ({fault}): please report it")

    def ended(self, faults: list[str]) -> None:
        """Answer those who wait for the end of the fleet with what went wrong at its stop."""
        for client in self._until_end:
            client.reply({"ok": True, "faults": faults})

    def _status(self, client: ControlClient, request: ControlRequest) -> None:
        client.reply({"ok": True, "pid": os.getpid(), "status": self._supervisor.status()})

    def _places(self, client: ControlClient, request: ControlRequest) -> None:
        """The fleet's paths on disk."""
        runtime, log = self._supervisor.runtime.path, self._supervisor.logs.path
        client.reply({"ok": True, "rundir": str(runtime), "log": str(log)})

    def _start(self, client: ControlClient, request: ControlRequest) -> None:
        self._announce(client, request, Start)

    def _stop(self, client: ControlClient, request: ControlRequest) -> None:
        self._announce(client, request, Stop)

    def _restart(self, client: ControlClient, request: ControlRequest) -> None:
        self._announce(client, request, Restart)

    def _drain(self, client: ControlClient, request: ControlRequest) -> None:
        for name in self._names(request):
            kind = self._supervisor.processes[name].actor.kind
            if kind in NOTHING_TO_DRAIN:
                raise RequestDeclinedError(
                    f"{name} has nothing to drain: only a replica hands over what it serves; "
                    f"`actorctl stop {name}` stops it"
                )
        self._announce(client, request, lambda names: Stop(names, drain=True))

    def _announce(
        self,
        client: ControlClient,
        request: ControlRequest,
        event: Callable[[tuple[str, ...]], SupervisionEvent],
    ) -> None:
        supervisor = self._supervisor
        names = tuple(self._names(request))
        if supervisor.state.stopping:
            raise RequestDeclinedError(f"the fleet {supervisor.fleet!r} is stopping")
        before = {name: supervisor.state.actors[name].incarnation for name in names}
        supervisor.note("info", f"{request.do} {', '.join(names)}, as a person asked")
        supervisor.feed(event(names))
        after = {name: supervisor.state.actors[name].state.value for name in names}
        client.reply({"ok": True, "before": before, "states": after})

    def _kill(self, client: ControlClient, request: ControlRequest) -> None:
        """Send a signal. The state machine gets no event: an exit that follows is a failure."""
        number = _signal(request.signal)
        names = self._names(request)
        for name in names:
            process = self._supervisor.processes[name].process
            if process is None:
                state = self._supervisor.state.actors[name].state
                raise RequestDeclinedError(f"{name} has no process: it is {state}")
            self._supervisor.note("info", f"{name}: {number.name}, as a person asked")
            process.signal(number)
        client.reply({"ok": True, "names": names, "signal": number.name})

    def _graph(self, client: ControlClient, request: ControlRequest) -> None:
        """The start order, and which actors share which segments."""
        rows = []
        for name, held in self._supervisor.processes.items():
            actor = held.actor
            rows.append(
                {
                    "name": name,
                    "kind": actor.kind,
                    "robot": actor.robot,
                    "state": self._supervisor.state.actors[name].state.value,
                    "after": list(actor.member.after),
                    "group": actor.member.group,
                    "writes": [use.name for use in actor.segments if use.writable],
                    "reads": [use.name for use in actor.segments if not use.writable],
                    "endpoints": {
                        key: value
                        for key, value in actor.config.items()
                        if isinstance(value, str) and value.startswith(("ipc://", "tcp://"))
                    },
                }
            )
        client.reply({"ok": True, "actors": rows})

    def _segments(self, client: ControlClient, request: ControlRequest) -> None:
        client.reply({"ok": True, "segments": self._supervisor.segments.sizes()})

    def _attach(self, client: ControlClient, request: ControlRequest) -> None:
        """Send a segment's descriptor, which is read-only: no script can write a robot's memory."""
        memory, name = self._supervisor.segments, request.segment
        if name not in memory.sizes():
            raise RequestDeclinedError(f"no segment {name!r}; {closest(name, memory.sizes())}")
        fd, size = memory.read_only(name)
        client.hand_over({"ok": True, "segment": name, "size": size}, fd)

    def _reform(self, client: ControlClient, request: ControlRequest) -> None:
        """Take over another list of actors; with `dry`, only report what would change."""
        supervisor = self._supervisor
        if supervisor.state.stopping:
            raise RequestDeclinedError(f"the fleet {supervisor.fleet!r} is stopping")
        difference = differences(supervisor.specs(), request.actors)
        if not request.dry:
            try:
                supervisor.reform(request.actors)
            except (ValueError, SegmentError) as error:
                raise RequestDeclinedError(str(error)) from error
        client.reply({"ok": True, "difference": msgspec.to_builtins(difference)})

    def _shutdown(self, client: ControlClient, request: ControlRequest) -> None:
        if request.wait:
            self._until_end.append(client)
        else:
            client.reply({"ok": True})
        self._supervisor.stop("a person asked")

    def _robot(self, client: ControlClient, request: ControlRequest) -> None:
        """A command for a robot's control actor."""
        robots = self._supervisor.robots
        for robot in request.names:
            if robot not in robots:
                raise RequestDeclinedError(f"no robot {robot!r}; {closest(robot, robots)}")
        names = [f"{robot}/control" for robot in request.names]
        self.delivered.send(client, names, request.do, request.args, ANSWER_S)

    def _recorder(self, client: ControlClient, request: ControlRequest) -> None:
        """A command for a robot's recorder."""
        robots = self._supervisor.robots
        for robot in request.names:
            if robot not in robots:
                raise RequestDeclinedError(f"no robot {robot!r}; {closest(robot, robots)}")
            if f"{robot}/recorder" not in self._supervisor.state.actors:
                raise RequestDeclinedError(
                    f"{robot} is not recorded: give it `record: {{root: FOLDER}}` in fleet.yaml"
                )
        names = [f"{robot}/recorder" for robot in request.names]
        self.delivered.send(client, names, request.do, request.args, SAVED_S)

    def _tell(self, client: ControlClient, request: ControlRequest) -> None:
        """Any command for any actor: {"do": "tell", "names": [...], "verb": ..., "args": {...}}."""
        names = self._names(request)
        self.delivered.send(client, names, request.verb, request.args, ANSWER_S)

    def _names(self, request: ControlRequest) -> list[str]:
        """The actors named in the request, all known."""
        state = self._supervisor.state
        known = [name for name in state.actors if name not in state.retired]
        for name in request.names:
            if name in self._supervisor.robots:
                own = ", ".join(other for other in known if other.startswith(f"{name}/"))
                raise RequestDeclinedError(f"{name!r} is a robot; its actors are {own}")
            if name not in known:
                raise RequestDeclinedError(f"no actor {name!r}; {closest(name, known)}")
        if not request.names:
            raise RequestDeclinedError(f"{request.do} needs a name, one of: {', '.join(known)}")
        return list(request.names)


def _signal(name: object) -> signal.Signals:
    """SIGKILL from `9`, `KILL`, `sigkill`."""
    text = str(name).upper()
    if re.fullmatch("[0-9]{1,3}", text):
        # `valid_signals` has real-time ones too, which have no names.
        with contextlib.suppress(ValueError):
            return signal.Signals(int(text))
    full = text if text.startswith("SIG") else f"SIG{text}"
    if full in signal.Signals.__members__:
        return signal.Signals[full]
    raise RequestDeclinedError(f"no signal {name!r}; {closest(full, signal.Signals.__members__)}")

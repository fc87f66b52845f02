"""What the broker's tests share: a routing core driven by hand, and brokers on real sockets.

Peers use the transport's codec, and keep to the protocol unless a test makes them break it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from holdfast.actors.broker.broker import BrokerActor
from holdfast.actors.broker.effects import Effect, Log, Received, ToReplica, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.actors.broker.routing import Routing
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.actors.runtime.status_board import BOARD_SIZE, StatusBoardReader
from holdfast.actors.runtime.supervisor_link import BootMessage, SegmentEntry, SupervisorLink, pair
from holdfast.tests.waiting import wait_until
from holdfast.transport import messages, segment, sockets
from holdfast.transport.bodies import (
    KINDS,
    Accept,
    Body,
    Heartbeat,
    Open,
    Register,
    Reject,
    Reply,
    Request,
)
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs, Message

SECOND = 1_000_000_000
PATIENCE_S = 8.0
PATIENT = {"replica_lost_after_s": 60.0, "robot_lost_after_s": 60.0}
"""For tests that do not concern time, on machines that may be slow."""


def asking(robot: str, service: str = "flow", **more: Any) -> Open:
    """A robot's OPEN."""
    given = {"action_names": ("x",), "state_names": ("x",), "cameras": {}, "fps": 30.0, **more}
    return Open(robot=robot, service=service, **given)


def offering(name: str, capacity: int = 2, **more: Any) -> Register:
    """A replica's REGISTER."""
    given: dict[str, Any] = {
        "model": "m",
        "revision": "1",
        "checkpoint": "weights",
        "cameras": {},
        "state_names": ("x",),
        "action_names": ("x",),
        "chunk_size": 50,
        "fps": 30.0,
        **more,
    }
    service = name.rpartition("/")[0]
    return Register(replica=name, service=service, capacity=capacity, **given)


def granting(replica: str, **more: Any) -> Accept:
    """A replica's ACCEPT."""
    given: dict[str, Any] = {
        "model": "m",
        "revision": "1",
        "checkpoint": "weights",
        "chunk_size": 50,
        "fps": 30.0,
        "action_names": ("x",),
        "cameras": {},
        **more,
    }
    return Accept(session="s", replica=replica, **given)


class Desk:
    """The routing core, driven by hand. Every send succeeds unless the test reports otherwise."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND
        self.routing = Routing(BrokerConfig(front="", back=""), "broker:1", self.now_ns)
        self.progress = 0

    def robot(self, identity: str, body: Body | Kind, **header: int) -> list[Effect]:
        """The robot `identity` (`name:incarnation`) sends a message."""
        return self.routing.from_robot(_peer(identity), _received(body, header), self.now_ns)

    def replica(
        self, identity: str, body: Body | Kind, robot: str = "", **header: int
    ) -> list[Effect]:
        """The replica `identity` sends a message, about `robot` or itself."""
        message = _received(body, header)
        return self.routing.from_replica(_peer(identity), robot, message, self.now_ns)

    def register(self, identity: str, capacity: int = 2, **more: Any) -> list[Effect]:
        name = identity.rpartition(":")[0]
        return self.replica(identity, offering(name, capacity, **more), token=self.now_ns)

    def opened(self, identity: str, epoch: int = 1, service: str = "flow", **more: Any) -> bytes:
        """Open a session and let the replica it is placed at accept; the replica's identity."""
        name = identity.rpartition(":")[0]
        effects = self.robot(identity, asking(name, service, **more), epoch=epoch)
        (placed,) = [
            e for e in effects if isinstance(e, ToReplica) and is_a(e, ToReplica, Kind.OPEN)
        ]
        terms = granting("k", shm=bool(more.get("boot_id")))
        self.replica(placed.identity.decode(), terms, name, epoch=epoch)
        return placed.identity

    def wait(
        self, seconds: float, beats: tuple[str, ...] = (), robots: tuple[str, ...] = ()
    ) -> Any:
        """Let time pass; the replicas and robots named send heartbeats meanwhile. The effects."""
        done: list[Effect] = []
        until_ns = self.now_ns + round(seconds * SECOND)
        while self.now_ns < until_ns:
            self.now_ns = min(until_ns, self.now_ns + SECOND // 4)
            self.progress += 1
            for identity in beats:
                done += self.replica(identity, Heartbeat(progress=self.progress))
            for identity in robots:
                done += self.robot(identity, Heartbeat(progress=self.progress))
            done += self.routing.tick(self.now_ns)
        return done

    def sessions(self) -> dict[str, str]:
        """Robot name to the replica that serves it."""
        rows = self.routing.status(self.now_ns)["sessions"]
        return {row["robot"]: row["replica"] for row in rows if row["state"] != "none"}

    def count(self, reason: str) -> int:
        return self.routing.counters.reasons[reason]


Sent = Callable[[Sequence[Effect], type, Kind], list[Any]]
"""Of the fixture `sent`: the effects that send a message of a kind."""


def rejection(effects: list[Effect]) -> Reject:
    """The broker's own REJECT among `effects`."""
    payloads = [e.payload for e in effects if isinstance(e, ToRobot)]
    (found,) = [each for each in payloads if isinstance(each, Reject)]
    return found


def is_a(effect: Effect, way: type, kind: Kind) -> bool:
    """Whether `effect` sends a message of `kind` that way."""
    return isinstance(effect, way) and not isinstance(effect, Log) and effect.header.kind is kind


def _peer(identity: str) -> Peer:
    name, _, incarnation = identity.rpartition(":")
    return Peer(identity.encode(), name, int(incarnation))


def _received(what: Body | Kind, header: dict[str, int]) -> Received:
    kind = what if isinstance(what, Kind) else KINDS[type(what)]
    body = None if isinstance(what, Kind) else what
    return Received(Header(kind, **header), (kind.name, header), body)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def sent() -> Sent:
    """sent(effects, ToRobot, Kind.REPLY): the effects that send such a message."""
    return lambda effects, way, kind: [e for e in effects if is_a(e, way, kind)]


class WatchedContext(zmq.Context[zmq.Socket[bytes]]):
    """Monitors its DEALERs from before they connect: a connection whose key is refused is tried
    once."""

    monitors: list[Any]

    def socket(
        self,
        socket_type: int,
        socket_class: Callable[[Self, int], zmq.Socket[bytes]] | None = None,
        **options: Any,
    ) -> zmq.Socket[bytes]:
        made = super().socket(socket_type, socket_class, **options)
        if socket_type == zmq.DEALER:
            failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            failed |= zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
            monitor = made.get_monitor_socket(failed | zmq.EVENT_HANDSHAKE_SUCCEEDED)
            self.monitors = [monitor]
        return made

    def handshake(self) -> str:
        """How the newest DEALER's next handshake ended, `accepted` or `refused`; empty if none has
        ended yet."""
        (monitor,) = self.monitors
        if not monitor.poll(1):
            return ""
        event = recv_monitor_message(monitor)["event"]
        return "accepted" if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else "refused"


Got = tuple[str, Message[Any], list[Any]]
"""The robot's name (at a replica), the message, its frames as received."""


class Wire:
    """One peer's DEALER to a broker; a replica's messages begin with the robot's name."""

    def __init__(
        self, context: sockets.Context, endpoint: str, identity: str, **options: Any
    ) -> None:
        options.setdefault("hwm", 64)
        self.identity, self.name = identity, identity.rpartition(":")[0]
        self.socket = sockets.dealer(context, endpoint, identity, **options)
        self.is_replica = "/" in identity
        self.asking: Open | None = None
        self.backlog: list[Got] = []

    def say(self, body: Body, robot: str = "", blobs: Any = (), **header: int) -> None:
        frames = messages.encode(Header(KINDS[type(body)], **header), body, blobs)
        self.raw([robot.encode(), *frames] if self.is_replica else frames)

    def raw(self, frames: list[Any]) -> None:
        """Send once the connection is there."""
        assert self.socket.poll(int(PATIENCE_S * 1000), zmq.POLLOUT), "no connection"
        assert sockets.send(self.socket, frames)

    def get(self, kind: Kind, patience_s: float = PATIENCE_S) -> Got:
        """The next message of `kind` (robot, message, frames as received); others are kept."""
        deadline_s = time.monotonic() + patience_s
        while True:
            for place, entry in enumerate(self.backlog):
                if entry[1].header.kind is kind:
                    return self.backlog.pop(place)
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, f"{self.identity} waits for {kind.name}, has {self.kinds()}"
            if self.socket.poll(int(left_s * 1000) + 1):
                self.take()

    def take(self) -> None:
        """Move everything that has arrived into the backlog."""
        while (frames := sockets.receive(self.socket)) is not None:
            robot = bytes(frames.pop(0)).decode() if self.is_replica else ""
            self.backlog.append((robot, messages.decode(frames), frames))

    def kinds(self) -> list[str]:
        return [entry[1].header.kind.name for entry in self.backlog]

    # A replica

    def register(self, capacity: int = 2, **more: Any) -> None:
        self.say(offering(self.name, capacity, **more), token=time.monotonic_ns())
        self.get(Kind.WELCOME)

    def beat(self) -> None:
        self.say(Heartbeat(progress=time.monotonic_ns()))

    def accept(self) -> str:
        """Accept the next OPEN; the robot's name."""
        robot, message, _ = self.get(Kind.OPEN)
        header = message.header
        self.say(granting(self.name), robot, epoch=header.epoch, token=header.token)
        return robot

    def answer(self, value: float = 0.0) -> None:
        """Answer the next REQUEST by a chunk full of `value`."""
        robot, message, _ = self.get(Kind.REQUEST)
        blobs = Blobs()
        chunk = np.full((50, 1), value, np.float32)
        body = Reply(chunk_model=blobs.array(chunk), chunk=blobs.array(chunk))
        fields = {"seq": message.header.seq, "epoch": message.header.epoch}
        self.say(body, robot, blobs, **fields)

    # A robot

    def open(self, replica: Wire, epoch: int = 1) -> None:
        """Open a session at `replica`, which accepts."""
        self.say(asking(self.name), epoch=epoch)
        assert replica.accept() == self.name
        self.get(Kind.ACCEPT)

    def ask(self, seq: int, epoch: int = 1, nbytes: int = 4) -> None:
        blobs = Blobs()
        body = Request(state=blobs.array(np.zeros(nbytes // 4, np.float32)))
        self.say(body, blobs=blobs, seq=seq, epoch=epoch)


class LiveBroker:
    """A broker in a thread of this process, with its peers' context and its board."""

    def __init__(self, **config: Any) -> None:
        self.directory = Path(tempfile.mkdtemp(dir=os.environ["HOLDFAST_RUNTIME"]))
        self.front = config.pop("front", sockets.ipc(self.directory, "front"))
        self.back = config.pop("back", sockets.ipc(self.directory, "back"))
        self.context: sockets.Context = zmq.Context()
        self.config = {"front": self.front, "back": self.back, **PATIENT, **config}
        self.memory: Any = None
        self.incarnation = 0
        self.start()

    def start(self) -> None:
        self.incarnation += 1
        boot, ours, self.supervisor = boot_in_memory(
            "broker",
            "broker",
            self.config,
            memory=self.memory,
            incarnation=self.incarnation,
            rundir=self.directory,
        )
        self.memory = boot.memory
        self.actor = BrokerActor(boot, ours)
        self.link = ours
        self.code: int | None = None
        self.thread = threading.Thread(target=self._main, daemon=True)
        self.thread.start()

    def _main(self) -> None:
        self.code = self.actor.main()

    def stop(self) -> None:
        self.supervisor.command("stop")
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the broker does not stop"
        self.link.close()
        self.supervisor.close()

    def robot(self, identity: str, **options: Any) -> Wire:
        return Wire(self.context, self.front, identity, **options)

    def replica(self, identity: str, **options: Any) -> Wire:
        return Wire(self.context, self.back, identity, **options)

    def status(self) -> dict[str, Any]:
        return StatusBoardReader(self.memory["broker/board"]).report() or {}

    def until(self, condition: Callable[[dict[str, Any]], Any]) -> Any:
        """The first truthy `condition` of the status on the board."""
        return wait_until(
            lambda: condition(self.status() or {"counters": {}}), "the status", PATIENCE_S
        )


@pytest.fixture
def start_broker() -> Iterator[Callable[..., LiveBroker]]:
    """start_broker(**config): a broker on real sockets; stopped afterwards."""
    Path(os.environ["HOLDFAST_RUNTIME"]).mkdir(parents=True, exist_ok=True)
    started: list[LiveBroker] = []

    def start(**config: Any) -> LiveBroker:
        started.append(LiveBroker(**config))
        return started[-1]

    yield start
    for broker in started:
        broker.context.destroy(linger=0)
        broker.stop()


@pytest.fixture
def broker(start_broker: Callable[..., LiveBroker]) -> LiveBroker:
    return start_broker()


@pytest.fixture
def robot_of() -> Iterator[Callable[[str], Wire]]:
    """robot_of(front): the robot r1 at a broker, its OPEN in `asking`."""
    context: sockets.Context = zmq.Context()

    def connect(front: str) -> Wire:
        robot = Wire(context, front, "r1:1")
        robot.asking = asking("r1")
        return robot

    yield connect
    context.destroy(linger=0)


@pytest.fixture
def broker_process() -> Iterator[BrokerProcess]:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        process = BrokerProcess(Path(directory))
        yield process
        process.close()


class BrokerProcess:
    """A broker as the supervisor starts it: exec, a boot over the link, a shared board."""

    def __init__(self, directory: Path) -> None:
        self.front, self.back = sockets.ipc(directory, "front"), sockets.ipc(directory, "back")
        self.directory, self.incarnation = directory, 0
        self.board = segment.create(BOARD_SIZE, "broker/board")
        self.links: list[SupervisorLink] = []
        self.launch()

    def launch(self) -> None:
        """Start its next incarnation."""
        self.incarnation += 1
        ours, theirs = pair()
        self.link = SupervisorLink(ours)
        self.links.append(self.link)
        self.process = _spawn(
            [sys.executable, "-P", "-m", "holdfast.actors.runtime.main", "broker"],
            HOLDFAST_LINK=theirs,
        )
        entries = (SegmentEntry("broker/board", BOARD_SIZE, True),)
        # A robot here is silent while the test waits for processes to start.
        config = {"front": self.front, "back": self.back, "robot_lost_after_s": 60.0}
        rundir = str(self.directory)
        boot = BootMessage("broker", "broker", self.incarnation, rundir, config, entries)
        self.link.boot(boot, [self.board.fd])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for each in self.links:
            each.close()
        self.board.close()


def _spawn(command: list[str], **inherited: socket.socket) -> subprocess.Popen[bytes]:
    """Start a process group of its own that inherits sockets, each named in its environment."""
    for theirs in inherited.values():
        theirs.set_inheritable(True)
    numbers = {name: str(theirs.fileno()) for name, theirs in inherited.items()}
    process = subprocess.Popen(
        command,
        pass_fds=[theirs.fileno() for theirs in inherited.values()],
        env={**os.environ, **numbers},
        start_new_session=True,
    )
    for theirs in inherited.values():
        theirs.close()
    return process

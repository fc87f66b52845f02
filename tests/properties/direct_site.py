"""A robot, two replicas and the broker, in memory: the session of a network actor, the routing core
and the cores of replicas, all real, with queues in the place of sockets. A replica is on the
robot's host, where it takes requests straight and may see shared memory, or on another.

Messages of one connection arrive in order, those of different connections whenever the test likes.
What lies in the queues of a process that dies is lost with it.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from holdfast.actors.broker.arrival import Arrival
from holdfast.actors.broker.effects import Effect, ToReplica, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.actors.broker.routing import Routing
from holdfast.actors.inference.self_description import registration
from holdfast.actors.network.answer_relay import AnswerRelay
from holdfast.actors.network.broker_route import BrokerRoute
from holdfast.actors.network.direct_path import DirectPath, SentStraight
from holdfast.actors.network.session_moves import SessionMoves
from holdfast.actors.network.session_relay import Phase, SessionRelay
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.tests.properties.direct_replica import ROBOT, ROBOTS_PEER, Queue, Replica, core_of
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Body, Heartbeat
from holdfast.transport.header import Header, Kind
from holdfast.transport.host import boot_id
from holdfast.transport.messages import decode, encode

MS = 1_000_000
Frames = Sequence[Buffer]


class PaperPath(DirectPath):
    """A direct path whose connection is a queue."""

    def __init__(self, site: DirectSite) -> None:
        super().__init__("r1:1", 40 * MS, Counter())
        self._site = site
        self.at = ""

    def connect(self, endpoint: str) -> None:
        self.at = endpoint.removeprefix("ipc://")
        self.route.at_replica(usable=bool(endpoint))

    def send(self, header: Header, frames: list[Buffer], now_ns: int) -> bool:
        there = self._site.replicas.get(self.at)
        if not self.route.takes(now_ns) or there is None:
            return False
        there.door.append(frames)
        self.route.sent(SentStraight(header, frames, now_ns))
        return True


class DirectSite:
    """The site, with the replicas named `far` on another host than the robot's; the others see its
    shared memory if it `shares` it. `got`: the answers that control was given, by seq; `lost`: its
    session was."""

    def __init__(self, far: Collection[str] = (), *, shares: bool = True) -> None:
        self._far, self._shares = far, shares
        self.now_ns = 1_000_000 * MS
        self.routing = Routing(BrokerConfig(front="", back=""), "broker:1", self.now_ns)
        self.replicas: dict[str, Replica] = {}
        self.to_robot: Queue = deque()
        self.to_broker: Queue = deque()
        self.got: Counter[int] = Counter()
        self.shared: set[int] = set()
        self.asked: Header | None = None
        self.epoch = self.seq = self._incarnation = 0
        self.relay = SessionRelay(60_000 * MS)
        self.direct = PaperPath(self)
        self.paths = SimpleNamespace(
            route=BrokerRoute(1, 500 * MS),
            several=False,
            present="broker",
            bytes_out=0,
            send=self._send,
            open=lambda frames, epoch: self._send(frames),
            heard=lambda broker, header, now_ns: None,
            ended=lambda: None,
            asked=lambda seq, now_ns: None,
        )
        log = logging.getLogger("direct-site")
        self.session = SessionMoves(cast("Any", self.paths), self.direct, self.relay, log)
        control = SimpleNamespace(send=self._to_control, reply=self._failed, identity=b"c")
        control.send_lost = lambda *_: None
        images = SimpleNamespace(oldest_ns=0, answered=lambda *_: None)
        self.answers = AnswerRelay(
            cast("Any", self.paths),
            self.relay,
            self.session,
            cast("Any", control),
            cast("Any", images),
            cast("Any", self),  # the audit: `pending` and `answered`
            (),
            Counter(),
            log,
            lambda: self.now_ns,
        )

    # The network actor's audit

    @property
    def pending(self) -> Header | None:
        return self.asked

    def answered(self, header: Header, *_: object) -> None:
        if self.asked is not None and self.asked.seq == header.seq:
            self.asked = None

    # What happens

    @property
    def open(self) -> bool:
        return self.relay.phase is Phase.OPEN

    @property
    def closed(self) -> bool:
        return self.relay.phase is Phase.CLOSED

    def start(self, name: str) -> None:
        """A replica starts, in the place of one that died."""
        self._incarnation += 1
        peer = Peer(f"{name}:{self._incarnation}".encode(), name, self._incarnation)
        far = name in self._far
        self.replicas[name] = replica = Replica(
            name, peer, core_of(name), far, self._shares, self.shared
        )
        offer = registration(
            name,
            self._incarnation,
            replica.core._config,
            replica.core._runner,
            replica.core.limit,
            0.0,
        )
        # Measured times would decide where a session is placed, otherwise in every run.
        host = "another-host" if far else offer.boot_id
        offer = msgspec.structs.replace(offer, boot_id=host, batch_s=(0.01,))
        self._from_replica(replica, "", encode(Header(Kind.REGISTER, token=self.now_ns), offer))

    def kill(self, name: str) -> None:
        """A replica dies; the broker learns that when it next sends."""
        del self.replicas[name]

    def join(self) -> None:
        """Control opens a session."""
        self.epoch += 1
        self.asked = None
        header = Header(Kind.OPEN, epoch=self.epoch)
        self.relay.from_control(header, 1, self.now_ns)
        body = decode(RobotSide(ROBOT).open(self.epoch, boot_id=boot_id())).body
        self.session.open(header, body, self.now_ns)

    def ask(self) -> None:
        """Control asks, whether or not the last request was answered."""
        self.seq += 1
        terms = self.session.terms
        if terms is not None and terms.shm:
            self.shared.add(self.seq)
        frames: list[Buffer] = list(
            RobotSide(ROBOT).request(example(self.seq), seq=self.seq, epoch=self.epoch)
        )
        header = Header.unpack(frames[0])
        if self.session.ask(header, frames, self.now_ns):
            self.asked = header

    def deliver(self) -> bool:
        """The robot reads one message of the broker; False if there is none."""
        if not self.to_robot:
            return False
        self.answers.from_broker(0, self.to_robot.popleft())
        return True

    def deliver_direct(self, name: str) -> bool:
        """The robot reads one answer of a replica; False if there is none. Those of a replica that
        it has left are lost with their connection."""
        replica = self.replicas.get(name)
        if replica is None or not replica.answers:
            return False
        frames = replica.answers.popleft()
        if self.direct.at == name:
            self.answers.from_replica(frames)
        return True

    def broker_reads(self) -> bool:
        """The broker reads one message of the robot; False if there is none."""
        if not self.to_broker:
            return False
        frames = self.to_broker.popleft()
        message = Arrival(ROBOTS_PEER.identity, "", list(frames)).from_robot()
        self._carry_out(self.routing.from_robot(ROBOTS_PEER, message, self.now_ns))
        return True

    def broker_reads_replica(self, name: str) -> bool:
        """The broker reads one message of a replica; False if there is none."""
        replica = self.replicas.get(name)
        if replica is None or not replica.sent:
            return False
        self._from_replica(replica, *replica.sent.popleft())
        return True

    def elapse(self, ms: int) -> None:
        """Time passes, in ticks of all processes."""
        for _ in range(0, ms, 20):
            self.now_ns += 20 * MS
            for replica in self.replicas.values():
                if not replica.hung:
                    replica.progress += 1
                    beat = encode(Header(Kind.HEARTBEAT), Heartbeat(progress=replica.progress))
                    self._from_replica(replica, "", beat)
            self.session.follow(self.now_ns)
            if self.relay.phase is not Phase.CLOSED:
                beat = encode(Header(Kind.HEARTBEAT, epoch=self.epoch), Heartbeat(progress=1))
                self.to_broker.append(beat)
            self._carry_out(self.routing.tick(self.now_ns))

    @property
    def owed(self) -> int | None:
        """The seq of the request that the broker waits for."""
        found = self.routing._state.sessions.of(ROBOT)
        return None if found is None or found.request is None else found.request.seq

    # Its parts

    def _send(self, frames: list[Buffer], broker: int | None = None) -> bool:
        self.to_broker.append([bytes(frame) for frame in frames])
        return True

    def _to_control(self, frames: Frames, identity: bytes = b"") -> None:
        header = Header.unpack(frames[0])
        if header.kind in (Kind.REPLY, Kind.ERROR):
            self.got[header.seq] += 1

    def _failed(self, identity: bytes, about: Header, body: Body) -> None:
        self.got[about.seq] += 1

    def _from_replica(self, replica: Replica, robot: str, frames: list[Buffer]) -> None:
        arrival = Arrival(replica.peer.identity, "", [robot.encode(), *map(bytes, frames)])
        name, message = arrival.from_replica()
        peer = replica.peer
        self._carry_out(self.routing.from_replica(peer, name, message, self.now_ns))

    def _carry_out(self, effects: list[Effect]) -> None:
        waiting = deque(effects)
        while waiting:
            effect = waiting.popleft()
            if not isinstance(effect, ToRobot | ToReplica):
                continue
            payload: Any = effect.payload
            if isinstance(payload, Body):
                payload = encode(effect.header, payload)
            frames: list[Buffer] = [bytes(frame) for frame in payload]
            if isinstance(effect, ToRobot):
                self.to_robot.append(frames)
                continue
            there = [r for r in self.replicas.values() if r.peer.identity == effect.identity]
            if there:
                there[0].back.append((effect.robot, frames))
            else:
                waiting += self.routing.undelivered(effect, "unreachable", self.now_ns)

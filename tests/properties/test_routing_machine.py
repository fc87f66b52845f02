"""The broker's routing in a site in memory: robots and replicas that behave as real ones do.

What it knows about who is where it learns from the messages that pass, never from the core's own
tables: it is the independent model that the core is checked against.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.actors.broker.effects import Effect, Log, Received, ToReplica, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.actors.broker.routing import Routing
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import (
    Accept,
    Body,
    Close,
    Drain,
    Event,
    Heartbeat,
    Inquiry,
    Open,
    Register,
    Reject,
    Verdict,
    decode,
    encode,
)

MS = 1_000_000
SECOND = 1_000 * MS
CONFIG = BrokerConfig(front="inproc://front", back="inproc://back")
SOCKET_HOLDS = 6
SERVICES = ("flow", "flow", "flow", "act")
NAMES = ("r1", "r2", "r3")


def message(kind: Kind, body: Body | None = None, mark: object = None, **header: int) -> Received:
    """A received message; `mark` stands for its opaque frames."""
    return Received(Header(kind, **header), ("frames", mark), body)


def open_body(robot: str, service: str, boot_id: str = "") -> Open:
    return Open(
        robot=robot,
        service=service,
        action_names=("x",),
        state_names=("x",),
        cameras={},
        fps=30.0,
        boot_id=boot_id,
    )


def offer(name: str, capacity: int, checkpoint: str = "weights", boot_id: str = "") -> Register:
    return Register(
        replica=name,
        service=name.rpartition("/")[0],
        capacity=capacity,
        model="m",
        revision="1",
        checkpoint=checkpoint,
        cameras={},
        state_names=("x",),
        action_names=("x",),
        chunk_size=50,
        fps=30.0,
        boot_id=boot_id,
    )


def terms(replica: str, checkpoint: str = "weights", shm: bool = False) -> Accept:
    return Accept(
        session="s",
        replica=replica,
        model="m",
        revision="1",
        checkpoint=checkpoint,
        chunk_size=50,
        fps=30.0,
        action_names=("x",),
        cameras={},
        shm=shm,
    )


@dataclass
class FakeReplica:
    peer: Peer
    capacity: int
    up: bool = True
    hung: bool = False
    full: bool = False
    picky: bool = False
    draining: bool = False
    token: int = 1
    progress: int = 0
    progress_at: int = 0
    full_until: int = 0
    turned_away: dict[str, int] = field(default_factory=dict)
    listed: bool = False
    """The broker has it on its list, as far as messages and the clock tell."""
    inbox: deque[ToReplica] = field(default_factory=deque)
    sessions: dict[str, int] = field(default_factory=dict)
    pending: dict[str, Received] = field(default_factory=dict)


@dataclass
class FakeRobot:
    peer: Peer
    service: str
    epoch: int = 0
    seq: int = 0
    state: str = "closed"
    waiting: int | None = None
    reachable: bool = True
    full: bool = False
    silent: bool = False
    heard_at: int = 0
    """When the broker last heard of it."""
    answered: set[tuple[int, int]] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.peer.name


Fake = TypeVar("Fake", FakeReplica, FakeRobot)


class World:
    """The site. Everything that happens goes through `carry_out`, as in the broker's shell."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND
        self.routing = Routing(CONFIG, "broker:1", self.now)
        self.replicas: dict[bytes, FakeReplica] = {}
        self.robots: dict[bytes, FakeRobot] = {}
        self.at: dict[str, tuple[bytes, bytes, int]] = {}
        """Robot name to (robot's identity, replica's identity, epoch): who is where."""
        self.refused: dict[str, set[bytes]] = {}
        self.name_taken = False
        self.askers: dict[bytes, FakeRobot] = {}
        self.asked: dict[str, tuple[bytes, int]] = {}
        """Robot name to (asker's identity, instant): the newest question that is not answered."""

    # Sends, as the shell does them

    def carry_out(self, effects: list[Effect]) -> list[Effect]:
        done: list[Effect] = []
        waiting = deque(effects)
        blocked: dict[tuple[bool, bytes], str] = {}
        while waiting:
            effect = waiting.popleft()
            if isinstance(effect, Log):
                continue
            check_readable(effect)
            self._observe(effect)
            way = isinstance(effect, ToRobot), effect.identity
            why = blocked.get(way)
            if why is None:
                deliver = self._to_robot if isinstance(effect, ToRobot) else self._to_replica
                why = deliver(effect)  # type: ignore[operator]
            if why is None:
                done.append(effect)
            else:
                blocked[way] = why
                if why == "unreachable" and isinstance(effect, ToReplica):
                    self._unlist(effect.identity)
                waiting.extend(self.routing.undelivered(effect, why, self.now))  # type: ignore[arg-type]
        return done

    def _observe(self, effect: ToRobot | ToReplica) -> None:
        """Learn from what is about to be sent, whether it arrives or not, who is where now."""
        kind, epoch = effect.header.kind, effect.header.epoch
        if isinstance(effect, ToRobot):
            if effect.identity in self.robots and kind in (Kind.EVENT, Kind.REJECT):
                self._check_bad_news(self.robots[effect.identity], effect)
        elif kind is Kind.OPEN:
            opener = self._opening(effect.robot, effect)
            self.at[effect.robot] = opener.peer.identity, effect.identity, epoch
        elif kind is Kind.CLOSE:
            held = self.at.get(effect.robot)
            if held is not None and held[1:] == (effect.identity, epoch):
                del self.at[effect.robot]

    def _to_replica(self, effect: ToReplica) -> str | None:
        kind = effect.header.kind
        replica = self.replicas.get(effect.identity)
        if replica is None or not replica.up:
            return "unreachable"
        if kind is Kind.WELCOME and effect.header.token == replica.token:
            replica.listed = True
        if replica.full or len(replica.inbox) >= SOCKET_HOLDS:
            return "full"
        replica.inbox.append(effect)
        return None

    def _opening(self, robot: str, effect: ToReplica) -> FakeRobot:
        mark = effect.payload[1]  # type: ignore[index]
        assert mark[0] == "open" and mark[2] == effect.header.epoch
        opener = self.robots[mark[1]]
        assert opener.name == robot, "an OPEN travels under the name of its robot"
        return opener

    def _to_robot(self, effect: ToRobot) -> str | None:
        robot = self.robots.get(effect.identity)
        kind, epoch = effect.header.kind, effect.header.epoch
        if kind is Kind.VERDICT:
            self._check_verdict(effect)
            return None
        lost = robot is None or not robot.reachable
        if lost or robot.full:  # type: ignore[union-attr]
            if kind in (Kind.REPLY, Kind.ERROR) and robot is not None:
                robot.waiting = None
            return "unreachable" if lost else "full"
        assert robot is not None
        if kind is Kind.REPLY:
            self._check_reply(robot, effect)
        elif kind is Kind.ERROR:
            assert (epoch, effect.header.seq) == (robot.epoch, robot.waiting), "nobody asked that"
            robot.waiting = None
        elif epoch == robot.epoch and kind is Kind.ACCEPT:
            assert robot.state == "opening", "a robot is accepted once per OPEN"
            robot.state = "open"
        elif epoch == robot.epoch and (kind is Kind.REJECT or _is_lost(effect)):
            robot.state, robot.waiting = "closed", None
        return None

    # What is promised

    def _check_reply(self, robot: FakeRobot, effect: ToRobot) -> None:
        tag, sender, replica, epoch, seq = effect.payload[1]  # type: ignore[index]
        assert tag == "reply"
        assert sender == robot.peer.identity, "a reply reaches only the robot that asked"
        assert (epoch, seq) not in robot.answered, "a reply is delivered once"
        assert (epoch, seq) == (robot.epoch, robot.waiting), "only the newest request is answered"
        assert self.at[robot.name][1:] == (replica, epoch), "only the replica at hand answers"
        robot.answered.add((epoch, seq))
        robot.waiting = None

    def _check_bad_news(self, robot: FakeRobot, effect: ToRobot) -> None:
        """A session is given up, or refused, only when no listed replica could have it."""
        body, current = effect.payload, self.at.get(robot.name)
        if effect.header.kind is Kind.REJECT:
            if isinstance(body, Reject) and body.reason == "name-taken":
                self.name_taken = True
                return
        elif not _is_lost(effect):
            return
        elif current is not None and current[0] != robot.peer.identity:
            return  # the name is another's now: this one is told so
        elif current is not None and current[2] != effect.header.epoch:
            return  # about a session before the present one
        elif isinstance(body, Event) and "unknown session" in body.message:
            assert current is None, "a session that exists is not unknown"
            return
        able = self.could_serve(robot)
        assert not able, f"{robot.name} was given up although {able} could serve it"
        self.at.pop(robot.name, None)

    def _check_verdict(self, effect: ToRobot) -> None:
        asker = self.askers[effect.identity]
        newest, _ = self.asked.pop(asker.name)
        assert newest == effect.identity, "the newest question of a name is answered, and once"
        assert effect.header.token == asker.epoch, "an answer echoes what it answers"
        body = effect.payload
        if isinstance(body, Verdict) and body.reject and body.reject.reason != "no-answer":
            able = self.could_serve(asker)
            assert not able, f"{asker.name} was told no although {able} could serve it"

    def could_serve(self, robot: FakeRobot) -> list[str]:
        used: dict[bytes, int] = {}
        for name, (_, replica, _) in self.at.items():
            if name != robot.name:
                used[replica] = used.get(replica, 0) + 1
        return [
            replica.peer.name
            for identity, replica in self.replicas.items()
            if replica.listed
            and not replica.draining
            and replica.peer.service == robot.service
            and identity not in self.refused.get(robot.name, ())
            and used.get(identity, 0) < replica.capacity
        ]

    def check_capacity(self) -> None:
        for row in self.routing.status(self.now)["replicas"]:
            assert row["sessions"] <= row["capacity"]

    def check_requests(self) -> None:
        """What a robot waits for is at the replica at hand, wherever that was before; only a full
        socket may hold it up until the next tick. Nobody is left at a replica that was given up."""
        for name, held in self.at.items():
            assert self.replicas[held[1]].listed, f"{name} is still at a replica that was given up"
        for robot in self.robots.values():
            held = self.at.get(robot.name)
            mine = held is not None and held[::2] == (robot.peer.identity, robot.epoch)
            if robot.state != "open" or robot.waiting is None or not mine or held is None:
                continue
            replica = self.replicas[held[1]]
            there = [e.header.seq for e in replica.inbox if e.robot == robot.name]
            if robot.name in replica.pending:
                there.append(replica.pending[robot.name].header.seq)
            excused = not replica.up or self.routing.waits()
            assert robot.waiting in there or excused, f"{robot.waiting} of {robot.name} is nowhere"

    # Replicas

    def say(self, replica: FakeReplica, robot: str, what: Received) -> list[Effect]:
        return self.carry_out(self.routing.from_replica(replica.peer, robot, what, self.now))

    def register(self, replica: FakeReplica) -> None:
        replica.sessions.clear()
        replica.pending.clear()
        replica.token += 1
        replica.progress_at = self.now
        for other in self.replicas.values():
            if other.peer.name == replica.peer.name and other is not replica:
                assert other.peer.incarnation < replica.peer.incarnation
                other.listed = False
        replica.listed = True
        body = offer(replica.peer.name, replica.capacity)
        self.say(replica, "", message(Kind.REGISTER, body, token=replica.token))

    def beat(self, replica: FakeReplica) -> None:
        replica.progress += 1
        if replica.listed:
            replica.progress_at = self.now
        self.say(replica, "", message(Kind.HEARTBEAT, Heartbeat(progress=replica.progress)))

    def work(self, replica: FakeReplica) -> None:
        """Handle everything that has arrived; answer nothing yet."""
        while replica.inbox and replica.up and not replica.hung:
            self._handle(replica, replica.inbox.popleft())

    def _handle(self, replica: FakeReplica, effect: ToReplica) -> None:
        header, robot = effect.header, effect.robot
        if header.kind is Kind.WELCOME and header.token == 0:
            if not replica.draining:
                self.register(replica)
        elif header.kind is Kind.INQUIRY:
            no = Reject(reason="capacity", message="full") if replica.picky else None
            yes = None if no else terms(replica.peer.name)
            verdict = Verdict(accept=yes, reject=no)
            header = header._replace(kind=Kind.VERDICT)
            self.say(replica, robot, Received(header, ("frames", "verdict"), verdict))
        elif header.kind is Kind.OPEN:
            replica.pending.pop(robot, None)
            replica.turned_away.pop(robot, None)
            if replica.picky:
                replica.sessions.pop(robot, None)
                replica.turned_away[robot] = header.epoch
                self.refuse(replica, effect)
                return
            replica.sessions[robot] = header.epoch
            assert len(replica.sessions) <= replica.capacity, "no replica holds more than it offers"
            answer = message(Kind.ACCEPT, terms(replica.peer.name), "accept", epoch=header.epoch)
            self.say(replica, robot, answer)
        elif header.kind is Kind.CLOSE and replica.sessions.get(robot) == header.epoch:
            del replica.sessions[robot]
            replica.pending.pop(robot, None)
        elif header.kind is Kind.REQUEST:
            if replica.sessions.get(robot) == header.epoch:
                replica.pending[robot] = Received(header, effect.payload)  # type: ignore[arg-type]
            else:
                assert replica.turned_away.get(robot) == header.epoch, (
                    "a request follows the OPEN of its session"
                )

    def refuse(self, replica: FakeReplica, effect: ToReplica) -> None:
        held = self.at.get(effect.robot)
        if held is not None and held[1:] == (replica.peer.identity, effect.header.epoch):
            self.refused.setdefault(effect.robot, set()).add(replica.peer.identity)
        answer = Reject(reason="capacity", message="full")
        self.say(
            replica,
            effect.robot,
            message(Kind.REJECT, answer, "reject", epoch=effect.header.epoch),
        )

    def answer(self, replica: FakeReplica, robot: str) -> None:
        asked = replica.pending.pop(robot)
        _, sender, epoch, seq = asked.frames[1]
        mark = "reply", sender, replica.peer.identity, epoch, seq
        header = asked.header._replace(kind=Kind.REPLY)
        self.say(replica, robot, Received(header, ("frames", mark)))

    def drain(self, replica: FakeReplica) -> None:
        replica.draining = True
        self.say(replica, "", message(Kind.DRAIN, Drain()))

    def _unlist(self, identity: bytes) -> None:
        if identity in self.replicas:
            self.replicas[identity].listed = False

    # Robots

    def hear(self, robot: FakeRobot, what: Received) -> list[Effect]:
        robot.heard_at = self.now
        return self.carry_out(self.routing.from_robot(robot.peer, what, self.now))

    def open(self, robot: FakeRobot) -> None:
        robot.epoch += 1
        robot.state, robot.waiting = "opening", None
        refused = self.refused.pop(robot.name, set())
        mark = "open", robot.peer.identity, robot.epoch
        body = open_body(robot.name, robot.service)
        self.name_taken = False
        self.hear(robot, message(Kind.OPEN, body, mark, epoch=robot.epoch))
        if self.name_taken:  # the holder's session goes on, and who refused that has not changed
            self.refused[robot.name] = refused

    def request(self, robot: FakeRobot) -> None:
        robot.seq += 1
        robot.waiting = robot.seq
        mark = "request", robot.peer.identity, robot.epoch, robot.seq
        sent = message(Kind.REQUEST, mark=mark, epoch=robot.epoch, seq=robot.seq)
        done = self.hear(robot, sent)
        held = self.at.get(robot.name)
        if robot.state != "open" or held is None or held[::2] != (robot.peer.identity, robot.epoch):
            return
        replica = self.replicas[held[1]]
        if replica.up and not replica.full and len(replica.inbox) < SOCKET_HOLDS:
            went = [e for e in done if isinstance(e, ToReplica) and e.header.kind is Kind.REQUEST]
            assert went, "a request goes out at once, whatever other peers do"

    def close(self, robot: FakeRobot) -> None:
        robot.state, robot.waiting = "closed", None
        self.hear(robot, message(Kind.CLOSE, Close(), epoch=robot.epoch))
        held = self.at.get(robot.name)
        if held is not None and (held[0], held[2]) == (robot.peer.identity, robot.epoch):
            del self.at[robot.name]

    def inquire(self, asker: FakeRobot) -> None:
        """Somebody asks, in the name of a robot that may be at work, whether it would be served."""
        self.askers[asker.peer.identity] = asker
        self.asked[asker.name] = asker.peer.identity, self.now
        body = Inquiry(open=open_body(asker.name, asker.service))
        asked = message(Kind.INQUIRY, body, "inquiry", token=asker.epoch)
        self.carry_out(self.routing.from_robot(asker.peer, asked, self.now))

    # Time

    def advance(self, ns: int) -> None:
        """Let time pass in steps that are short beside every limit, with the life that goes on."""
        while ns > 0:
            step = min(ns, 250 * MS)
            ns -= step
            self.now += step
            for replica in self.living():
                if self.now >= replica.full_until:
                    replica.full = False
                self.beat(replica)
                self.work(replica)
            for robot in self.present():
                epoch = 0 if robot.state == "closed" else robot.epoch
                self.hear(robot, message(Kind.HEARTBEAT, Heartbeat(progress=1), epoch=epoch))
            self._tick()

    def living(self) -> list[FakeReplica]:
        return [r for r in list(self.replicas.values()) if r.up and not r.hung]

    def present(self) -> list[FakeRobot]:
        return [r for r in list(self.robots.values()) if r.reachable and not r.silent]

    def _tick(self) -> None:
        self._expire()
        self.carry_out(self.routing.tick(self.now))
        for name, (_, asked_at) in self.asked.items():
            assert self.now - asked_at < 2 * SECOND, f"the question about {name} has no answer"

    def _expire(self) -> None:
        for replica in self.replicas.values():
            if self.now - replica.progress_at >= CONFIG.replica_lost_after_s * SECOND:
                replica.listed = False
        for name, (identity, _, _) in list(self.at.items()):
            silent = self.now - self.robots[identity].heard_at
            if silent >= CONFIG.robot_lost_after_s * SECOND:
                del self.at[name]

    def restart_broker(self) -> None:
        self.routing = Routing(CONFIG, "broker:2", self.now)
        self.at.clear()
        self.asked.clear()
        for replica in self.replicas.values():
            replica.listed = False
            replica.inbox.clear()


def check_readable(effect: ToRobot | ToReplica) -> None:
    """What the broker says on its own account can be read as it was meant."""
    if isinstance(effect.payload, Body):
        arrived = decode(encode(effect.header, effect.payload))
        assert (arrived.header, arrived.body) == (effect.header, effect.payload)


def _is_lost(effect: ToRobot) -> bool:
    return isinstance(effect.payload, Event) and effect.payload.what == "lost"


def pick(data: st.DataObject, options: list[Fake]) -> Fake:
    """One of them, drawn by its name, so that a failing example is short to read."""
    by_name = {fake.peer.identity.decode(): fake for fake in options}
    return by_name[data.draw(st.sampled_from(sorted(by_name)))]


class RoutingMachine(RuleBasedStateMachine):
    """Everything that peers, links and time can do to a broker, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.incarnation = 0

    @initialize(capacities=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def begin(self, capacities: list[int]) -> None:
        """A site at work; everything else that a broker goes through, happens to it later."""
        for k, capacity in enumerate(capacities):
            self.start_replica(k, "flow", capacity)
        for name in NAMES:
            self.start_robot(name, "flow")
        for robot in self.world.present():
            self.world.open(robot)
        for replica in self.world.living():
            self.world.work(replica)

    # Replicas

    @rule(k=st.integers(0, 1), service=st.sampled_from(SERVICES), capacity=st.integers(1, 3))
    def start_replica(self, k: int, service: str, capacity: int) -> None:
        name = f"{service}/{k}"
        for replica in self.world.replicas.values():
            if replica.peer.name == name:
                replica.up = False
        self.incarnation += 1
        identity = f"{name}:{self.incarnation}".encode()
        replica = FakeReplica(Peer(identity, name, self.incarnation), capacity)
        self.world.replicas[identity] = replica
        self.world.register(replica)

    @precondition(lambda self: self.world.living())
    @rule(data=st.data(), found=st.booleans())
    def kill_replica(self, data: st.DataObject, found: bool) -> None:
        replica = pick(data, self.world.living())
        replica.up = False
        if found:
            self.world.carry_out(self.world.routing.disconnected(self.world.now))

    @precondition(lambda self: self.world.living())
    @rule(data=st.data())
    def hang_replica(self, data: st.DataObject) -> None:
        pick(data, self.world.living()).hung = True

    @precondition(lambda self: self.hung())
    @rule(data=st.data())
    def wake_replica(self, data: st.DataObject) -> None:
        """What it answers now may be late: the requests it finds were replayed elsewhere."""
        self.wake(pick(data, self.hung()))

    @precondition(lambda self: self.world.living())
    @rule(data=st.data(), for_ms=st.integers(1, 1500))
    def fill_socket(self, data: st.DataObject, for_ms: int) -> None:
        replica = pick(data, self.world.living())
        replica.full = True
        replica.full_until = self.world.now + for_ms * MS

    @precondition(lambda self: self.world.living())
    @rule(data=st.data(), picky=st.booleans())
    def change_mind(self, data: st.DataObject, picky: bool) -> None:
        pick(data, self.world.living()).picky = picky

    @precondition(lambda self: [r for r in self.world.living() if r.listed])
    @rule(data=st.data())
    def drain_replica(self, data: st.DataObject) -> None:
        listed = [r for r in self.world.living() if r.listed]
        self.world.drain(pick(data, listed))

    @precondition(lambda self: self.world.living())
    @rule(data=st.data())
    def register_again(self, data: st.DataObject) -> None:
        """Its connection broke and was made again."""
        replica = pick(data, self.world.living())
        self.world.work(replica)
        if not replica.draining:
            self.world.register(replica)

    @precondition(lambda self: self.world.living())
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        self.world.work(pick(data, self.world.living()))

    @precondition(lambda self: self.serving())
    @rule(data=st.data(), how=st.sampled_from(("dies", "hangs", "wakes")))
    def fail_in_flight(self, data: st.DataObject, how: str) -> None:
        """The one that matters: the replica that a robot waits for is no more, or is late."""
        replica = pick(data, self.serving())
        if how == "dies":
            replica.up = False
            self.world.carry_out(self.world.routing.disconnected(self.world.now))
            return
        self.world.work(replica)
        replica.hung = True
        self.world.advance(2500 * MS)
        if how == "wakes":
            self.wake(replica)

    @precondition(lambda self: self.pending())
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        replica = pick(data, [replica for replica, _ in self.pending()])
        robot = data.draw(st.sampled_from(sorted(replica.pending)))
        self.world.answer(replica, robot)

    # Robots

    @rule(name=st.sampled_from(NAMES), service=st.sampled_from(SERVICES))
    def start_robot(self, name: str, service: str) -> None:
        """A first robot of the name, or another one that has the same name by mistake."""
        if sum(robot.name == name for robot in self.world.present()) > 1:
            return
        self.incarnation += 1
        identity = f"{name}:{self.incarnation}".encode()
        peer = Peer(identity, name, self.incarnation)
        self.world.robots[identity] = FakeRobot(peer, service)

    @precondition(lambda self: self.world.present())
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        robot = pick(data, self.world.present())
        self.world.open(robot)

    @precondition(lambda self: self.world.present())
    @rule(data=st.data())
    def leap(self, data: st.DataObject) -> None:
        """One OPEN with an epoch that no counting reaches; the robot goes on from where it was."""
        robot = pick(data, self.world.present())
        before, robot.epoch = robot.epoch, 2**32 - 2
        self.world.open(robot)
        robot.epoch = before
        self.world.open(robot)
        assert self.world.at.get(robot.name, (b"", b"", 0))[2] != 2**32 - 1

    @precondition(lambda self: self.in_state("closed"))
    @rule(data=st.data(), gets_there=st.booleans())
    def reopen(self, data: st.DataObject, gets_there: bool) -> None:
        """What control does when its session is lost; most often it comes back at once."""
        self.world.open(pick(data, self.in_state("closed")))
        for replica in self.world.living() if gets_there else ():
            self.world.work(replica)

    @precondition(lambda self: self.in_state("open"))
    @rule(data=st.data(), gets_there=st.booleans())
    def request(self, data: st.DataObject, gets_there: bool) -> None:
        self.world.request(pick(data, self.in_state("open")))
        for replica in self.world.living() if gets_there else ():
            self.world.work(replica)

    @precondition(lambda self: self.in_state("open"))
    @rule()
    def request_all(self) -> None:
        for robot in self.in_state("open"):
            self.world.request(robot)

    @precondition(lambda self: self.in_state("open", "opening"))
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        self.world.close(pick(data, self.in_state("open", "opening")))

    @precondition(lambda self: self.in_state("open"))
    @rule(data=st.data())
    def close_late(self, data: st.DataObject) -> None:
        """The end of the session before: it must not end this one."""
        robot = pick(data, self.in_state("open"))
        before = dict(self.world.at)
        old = message(Kind.CLOSE, Close(), epoch=robot.epoch - 1)
        self.world.hear(robot, old)
        assert self.world.at == before

    @precondition(lambda self: self.world.present())
    @rule(data=st.data())
    def restart_network(self, data: st.DataObject) -> None:
        """Its network actor dies; the next incarnation has no session, and opens the next epoch."""
        robot = pick(data, self.world.present())
        robot.reachable = False
        self.incarnation += 1
        identity = f"{robot.name}:{self.incarnation}".encode()
        self.world.robots[identity] = FakeRobot(
            Peer(identity, robot.name, self.incarnation),
            robot.service,
            epoch=robot.epoch,
            seq=robot.seq,
        )

    @rule(name=st.sampled_from(NAMES), service=st.sampled_from(SERVICES), gets_there=st.booleans())
    def inquire(self, name: str, service: str, gets_there: bool) -> None:
        """To ask changes nothing for anybody, whatever the answer will be."""
        self.incarnation += 1
        peer = Peer(f"{name}:0:{self.incarnation}".encode(), name, 0)
        world = self.world
        before = dict(world.at), world.routing.status(world.now)["sessions"]
        held = {k: (dict(r.sessions), dict(r.pending)) for k, r in world.replicas.items()}
        listed = {k: r.listed for k, r in world.replicas.items()}
        world.inquire(FakeRobot(peer, service, epoch=self.incarnation))
        if listed == {k: r.listed for k, r in world.replicas.items()}:  # nobody was found dead
            assert before == (dict(world.at), world.routing.status(world.now)["sessions"])
        assert held == {k: (dict(r.sessions), dict(r.pending)) for k, r in world.replicas.items()}
        for replica in world.living() if gets_there else ():
            world.work(replica)

    @precondition(lambda self: self.world.present())
    @rule(data=st.data())
    def fall_silent(self, data: st.DataObject) -> None:
        pick(data, self.world.present()).silent = True

    @precondition(lambda self: self.world.present())
    @rule(data=st.data(), full=st.booleans())
    def stop_reading(self, data: st.DataObject, full: bool) -> None:
        pick(data, self.world.present()).full = full

    # Time

    @rule(ms=st.sampled_from((10, 100, 500, 1000, 2500, 6000)))
    def advance(self, ms: int) -> None:
        self.world.advance(ms * MS)

    @rule()
    def restart_broker(self) -> None:
        self.world.restart_broker()

    @invariant()
    def no_replica_holds_more_than_it_offers(self) -> None:
        self.world.check_capacity()

    @invariant()
    def no_request_is_lost(self) -> None:
        self.world.check_requests()

    def teardown(self) -> None:
        """Whatever happened: once all that live work again, nobody waits in vain."""
        for replica in self.hung():
            self.wake(replica)
        for robot in self.world.present():
            robot.full = False
        for _ in range(16):
            self.world.advance(500 * MS)
            for replica, robot in self.pending():
                self.world.answer(replica, robot)
        for robot in self.world.present():
            waits = robot.state == "open" and robot.waiting is not None
            assert not waits, f"{robot.name} waits for {robot.waiting} although replicas live"
        for replica in [r for r in self.world.living() if r.listed]:
            held = {name for name, at in self.world.at.items() if at[1] == replica.peer.identity}
            assert set(replica.sessions) == held, "no session is left where nobody uses it"

    def wake(self, replica: FakeReplica) -> None:
        replica.hung = False
        self.world.work(replica)
        for robot in list(replica.pending):
            self.world.answer(replica, robot)

    def hung(self) -> list[FakeReplica]:
        return [r for r in self.world.replicas.values() if r.up and r.hung]

    def serving(self) -> list[FakeReplica]:
        """Living replicas that a robot waits for."""
        waiting = {robot.name for robot in self.in_state("open") if robot.waiting is not None}
        at = {held[1] for name, held in self.world.at.items() if name in waiting}
        return [r for r in self.world.living() if r.peer.identity in at]

    def pending(self) -> list[tuple[FakeReplica, str]]:
        return [(r, robot) for r in self.world.living() for robot in sorted(r.pending)]

    def in_state(self, *states: str) -> list[FakeRobot]:
        return [robot for robot in self.world.present() if robot.state in states]


TestRouting = RoutingMachine.TestCase
TestRouting.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)

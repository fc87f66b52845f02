"""Two routing cores of one site, with model replicas and robots, and links that can be cut.

A robot has the real `BrokerRoute`; the rest of it, and the replicas, are written from
`transport/reference.md`. Messages arrive at once; what is sent over a link that is cut arrives when
it is mended in time, as TCP has it, and never once the peers have made another connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from holdfast.actors.broker.effects import Effect, Log, Received, ToReplica, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.actors.broker.routing import Routing
from holdfast.actors.network.broker_route import BrokerRoute
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.tests.properties.routing_peers import message, offer, open_body, terms
from holdfast.transport.bodies import Close, Event, Heartbeat, Open, Reject
from holdfast.transport.header import Header, Kind

MS = 1_000_000
STEP_NS = 20 * MS
BEAT_NS = 500 * MS
SERVICE_NS = 40 * MS
ABANDONED_NS = 7_000 * MS
REOPEN_NS = 300 * MS
RECONNECTED_NS = 2_000 * MS
"""After such a silence the peers have made another connection."""
BROKERS = (0, 1)
Link = tuple[str, int]


@dataclass
class ModelReplica:
    """`sessions` by robot: (broker, epoch, move); `pending` by robot: the request, due when."""

    peer: Peer
    capacity: int
    sessions: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    pending: dict[str, tuple[Header, int]] = field(default_factory=dict)
    heard_ns: list[int] = field(default_factory=lambda: [0, 0])
    progress: int = 0

    def end(self, broker: int) -> None:
        for robot in [name for name, held in self.sessions.items() if held[0] == broker]:
            del self.sessions[robot]
            self.pending.pop(robot, None)


@dataclass
class ModelRobot:
    """`answered_ns`: when its last answer came; `left`: brokers that may hold a former session."""

    peer: Peer
    route: BrokerRoute
    epoch: int = 0
    seq: int = 0
    state: str = "closed"
    waiting: int | None = None
    holder: str = ""
    answered_ns: int = 0
    reopen_ns: int = 0
    asks_ns: int = 0
    beat_ns: int = 0
    left: dict[int, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.peer.name


class TwoBrokers:
    """The site. A link is (name of a robot or a replica, broker)."""

    def __init__(self, robots: int, capacities: list[int]) -> None:
        self.now_ns = 1_000_000 * MS
        self.alive = dict.fromkeys(BROKERS, True)
        self.routing = {k: self._fresh(k) for k in BROKERS}
        self.cut: dict[Link, tuple[int, list[Callable[[], None]]]] = {}
        """The links that are cut: since when, and what was sent meanwhile."""
        self.delivered: set[tuple[int, str, int, int]] = set()
        self._due: deque[Callable[[], None]] = deque()
        self._starts = 1
        self.replicas = {
            f"s/{i}": ModelReplica(Peer(f"s/{i}:1".encode(), f"s/{i}", 1), capacity)
            for i, capacity in enumerate(capacities)
        }
        self.robots = {
            f"r{i}": ModelRobot(Peer(f"r{i}:1".encode(), f"r{i}", 1), BrokerRoute(2, BEAT_NS))
            for i in range(robots)
        }
        for k in BROKERS:
            self._meet(k)
        self._deliver()

    # Faults

    def kill(self, broker: int) -> None:
        self.alive[broker] = False
        for robot in self.robots.values():
            robot.route.connection(broker, is_open=False)

    def revive(self, broker: int) -> None:
        self._starts += 1
        self.routing[broker], self.alive[broker] = self._fresh(broker), True
        self._meet(broker)
        self._deliver()

    def tear(self, link: Link) -> None:
        self.cut.setdefault(link, (self.now_ns, []))

    def mend(self, link: Link) -> None:
        since_ns, held = self.cut.pop(link)
        name, broker = link
        if self.now_ns - since_ns < RECONNECTED_NS:
            self._due.extend(held)
        elif name in self.replicas and self.alive[broker]:
            self.replicas[name].end(broker)
            self._register(self.replicas[name], broker)
        self._deliver()

    def heal(self) -> None:
        for link in list(self.cut):
            self.mend(link)
        for k in BROKERS:
            if not self.alive[k]:
                self.revive(k)

    def run(self, ms: int) -> None:
        for _ in range(ms * MS // STEP_NS):
            self.now_ns += STEP_NS
            for robot in self.robots.values():
                self._live(robot)
            for replica in self.replicas.values():
                self._serve(replica)
            for k in BROKERS:
                if self.alive[k]:
                    self._carry_out(k, self.routing[k].tick(self.now_ns))
            self._deliver()
            for replica in self.replicas.values():
                assert len(replica.sessions) <= replica.capacity

    def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until `condition` holds, at most a second."""
        for _ in range(50):
            if condition():
                return
            self.run(20)
        raise AssertionError("the condition does not come about within a second")

    # What is promised

    def served(self, robot: ModelRobot) -> bool:
        """Whether a broker reaches the robot and a replica."""
        return any(
            self.alive[k]
            and (robot.name, k) not in self.cut
            and any((name, k) not in self.cut for name in self.replicas)
            for k in BROKERS
        )

    def check_settled(self) -> None:
        """Without faults each robot has one session, at one broker and one replica, as long as
        there is room; both brokers know how full each replica is."""
        held = [name for replica in self.replicas.values() for name in replica.sessions]
        assert len(held) == len(set(held)), f"a robot has two places: {held}"
        room = sum(replica.capacity for replica in self.replicas.values())
        assert len(held) == min(room, len(self.robots)), (held, room)
        at = [self._sessions(k) for k in BROKERS]
        assert sorted([*at[0], *at[1]]) == sorted(held), f"{at} and {held}"
        for k in BROKERS:
            rows = self.routing[k].status(self.now_ns)["replicas"]
            counts = {row["name"]: row["sessions"] for row in rows}
            assert counts == {name: len(r.sessions) for name, r in self.replicas.items()}

    def _sessions(self, broker: int) -> list[str]:
        rows = self.routing[broker].status(self.now_ns)["sessions"]
        return [row["robot"] for row in rows if row["state"] == "open"]

    # Messages

    def _fresh(self, broker: int) -> Routing:
        config = BrokerConfig(front="", back="")
        return Routing(config, f"broker{broker}", self.now_ns)

    def _meet(self, broker: int) -> None:
        """All peers have a new connection to `broker`."""
        for replica in self.replicas.values():
            replica.end(broker)
            self._register(replica, broker)
        for robot in self.robots.values():
            robot.route.connection(broker, is_open=True)
            robot.left.pop(broker, None)

    def _deliver(self) -> None:
        while self._due:
            self._due.popleft()()

    def _carry_out(self, broker: int, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Log):
                continue
            if isinstance(effect, ToReplica):
                replica = self.replicas[effect.identity.decode().partition(":")[0]]
                at = partial(self._at_replica, replica, broker, effect)
                self._pass((replica.peer.name, broker), at)
            else:
                robot = self.robots[effect.identity.decode().partition(":")[0]]
                self._pass((robot.name, broker), partial(self._at_robot, robot, broker, effect))

    def _pass(self, link: Link, arrives: Callable[[], None]) -> None:
        if link in self.cut:
            self.cut[link][1].append(arrives)
        else:
            self._due.append(arrives)

    def _from_robot(self, robot: ModelRobot, broker: int, what: Received) -> None:
        def arrives() -> None:
            if self.alive[broker] and self.routing[broker] is routing:
                self._carry_out(broker, routing.from_robot(robot.peer, what, self.now_ns))

        routing = self.routing[broker]
        self._pass((robot.name, broker), arrives)

    def _from_replica(
        self, replica: ModelReplica, broker: int, what: Received, robot: str = ""
    ) -> None:
        def arrives() -> None:
            if self.alive[broker] and self.routing[broker] is routing:
                effects = routing.from_replica(replica.peer, robot, what, self.now_ns)
                self._carry_out(broker, effects)

        routing = self.routing[broker]
        self._pass((replica.peer.name, broker), arrives)

    # Replicas

    def _register(self, replica: ModelReplica, broker: int) -> None:
        replica.heard_ns[broker] = self.now_ns
        body = offer(replica.peer.name, replica.capacity)
        token = self.now_ns + self._starts
        self._from_replica(replica, broker, message(Kind.REGISTER, body, token=token))
        self._beat(replica)

    def _beat(self, replica: ModelReplica) -> None:
        replica.progress += 1
        for k in BROKERS:
            elsewhere = sum(held[0] != k for held in replica.sessions.values())
            beat = Heartbeat(progress=replica.progress, elsewhere=elsewhere)
            self._from_replica(replica, k, message(Kind.HEARTBEAT, beat))

    def _serve(self, replica: ModelReplica) -> None:
        for k in BROKERS:
            if self.now_ns - replica.heard_ns[k] > ABANDONED_NS:
                replica.end(k)
        for robot, (asked, due_ns) in list(replica.pending.items()):
            if self.now_ns >= due_ns:
                del replica.pending[robot]
                reply = Received(asked._replace(kind=Kind.REPLY), ("frames", "reply"))
                self._from_replica(replica, replica.sessions[robot][0], reply, robot)
        if self.now_ns % BEAT_NS == 0:
            self._beat(replica)

    def _at_replica(self, replica: ModelReplica, broker: int, effect: ToReplica) -> None:
        header, robot, kind = effect.header, effect.robot, effect.header.kind
        replica.heard_ns[broker] = self.now_ns
        held = replica.sessions.get(robot)
        if kind is Kind.WELCOME and header.token == 0:
            replica.end(broker)
            self._register(replica, broker)
        elif kind is Kind.OPEN:
            self._opened(replica, broker, robot, effect)
        elif held is None or held[:2] != (broker, header.epoch):
            if kind is Kind.REQUEST:
                lost = message(Kind.EVENT, Event(what="lost"), "lost", epoch=header.epoch)
                self._from_replica(replica, broker, lost, robot)
        elif kind is Kind.CLOSE:
            del replica.sessions[robot]
            replica.pending.pop(robot, None)
            self._beat(replica)
        elif kind is Kind.REQUEST:
            waiting = replica.pending.get(robot)
            if waiting is None or waiting[0].seq < header.seq:
                replica.pending[robot] = header, self.now_ns + SERVICE_NS

    def _opened(self, replica: ModelReplica, broker: int, robot: str, effect: ToReplica) -> None:
        epoch, held = effect.header.epoch, replica.sessions.get(robot)
        move = effect.payload[1]  # type: ignore[index]
        refusal = ""
        if held is not None and held[0] != broker and (epoch, move) < held[1:]:
            refusal = "moved"
        elif held is None and len(replica.sessions) >= replica.capacity:
            refusal = "capacity"
        if refusal:
            body = Reject(reason=refusal, message="")
            self._from_replica(replica, broker, message(Kind.REJECT, body, epoch=epoch), robot)
            return
        replica.sessions[robot] = broker, epoch, move
        if held is None or held[1] != epoch:
            replica.pending.pop(robot, None)
        accept = message(Kind.ACCEPT, terms(replica.peer.name), replica.peer.name, epoch=epoch)
        self._from_replica(replica, broker, accept, robot)
        if held is not None and held[0] != broker:
            lost = message(Kind.EVENT, Event(what="lost"), "lost", epoch=held[1])
            self._from_replica(replica, held[0], lost, robot)
        self._beat(replica)

    # Robots

    def _live(self, robot: ModelRobot) -> None:
        route = robot.route
        if robot.state == "closed" and self.now_ns >= robot.reopen_ns:
            robot.epoch += 1
            robot.state, robot.waiting, robot.holder = "opening", None, ""
            robot.reopen_ns = self.now_ns + 2_000 * MS
            self._open(robot, route.begin(self.now_ns))
        elif robot.state == "opening" and self.now_ns >= robot.reopen_ns:
            self._lose(robot)
        if robot.state == "open" and robot.waiting is None and self.now_ns >= robot.asks_ns:
            robot.seq += 1
            robot.waiting = robot.seq
            route.asked(self.now_ns)
            if not route.opening:
                self._ask(robot)
        if robot.state != "closed" and (to := route.due(self.now_ns)) is not None:
            self._open(robot, to)
        if self.now_ns >= robot.beat_ns or route.probe_due(self.now_ns):
            robot.beat_ns = self.now_ns + BEAT_NS
            self._beat_all(robot)

    def _beat_all(self, robot: ModelRobot) -> None:
        for k in BROKERS:
            if not self.alive[k]:
                continue
            claims = k == robot.route.current and robot.state != "closed"
            if k != robot.route.current and k in robot.left and not robot.route.opening:
                close = message(Kind.CLOSE, Close(), epoch=robot.left[k])
                self._from_robot(robot, k, close)
            waits = robot.waiting if claims and not robot.route.opening else None
            header = {"epoch": robot.epoch if claims else 0, "seq": waits or 0}
            beat = message(Kind.HEARTBEAT, Heartbeat(progress=1), token=self.now_ns, **header)
            robot.route.beaten(k, self.now_ns)
            self._from_robot(robot, k, beat)

    def _open(self, robot: ModelRobot, broker: int | None) -> None:
        """Send the OPEN to `broker`, or to the next one that is connected."""
        while broker is not None and not self.alive[broker]:
            broker = robot.route.refused(self.now_ns)
        if broker is None:
            self._lose(robot)
            return
        robot.left[broker] = robot.epoch
        move = robot.route.move
        body: Open = replace(open_body(robot.name, "s"), move=move, holder=robot.holder)
        self._from_robot(robot, broker, message(Kind.OPEN, body, move, epoch=robot.epoch))

    def _ask(self, robot: ModelRobot) -> None:
        asked = message(Kind.REQUEST, epoch=robot.epoch, seq=robot.waiting or 0)
        self._from_robot(robot, robot.route.current, asked)

    def _lose(self, robot: ModelRobot) -> None:
        robot.state, robot.waiting, robot.route.opening = "closed", None, False
        robot.reopen_ns = self.now_ns + REOPEN_NS

    def _at_robot(self, robot: ModelRobot, broker: int, effect: ToRobot) -> None:
        header, route = effect.header, robot.route
        beat = header.kind is Kind.HEARTBEAT
        route.heard(broker, self.now_ns, header.token if beat else 0)
        if beat and broker != route.current and not route.opening:
            robot.left.pop(broker, None)  # the CLOSE before it has arrived
        if header.kind in (Kind.REPLY, Kind.ERROR) and header.epoch == robot.epoch:
            self._answered(robot, broker, header)
        if broker != route.current or header.epoch != robot.epoch or robot.state == "closed":
            return
        what = _said(effect)
        if header.kind is Kind.ACCEPT:
            robot.state = "open"
            robot.holder = str(effect.payload[1])  # type: ignore[index]
            route.accepted(self.now_ns)
            if robot.waiting is not None:
                self._ask(robot)
        elif what in ("lost", "rejected"):
            robot.left.pop(broker, None)
            self._open(robot, route.refused(self.now_ns))
        elif what == "replayed":
            route.replayed(self.now_ns)

    def _answered(self, robot: ModelRobot, broker: int, header: Header) -> None:
        if header.kind is Kind.ERROR and broker != robot.route.current:
            return
        if header.kind is Kind.REPLY:
            once = broker, robot.name, header.epoch, header.seq
            assert once not in self.delivered, "a broker delivers an answer once"
            self.delivered.add(once)
        if robot.waiting == header.seq:
            robot.waiting = None
            robot.route.answered(self.now_ns)
            robot.asks_ns = self.now_ns + 100 * MS
            if header.kind is Kind.REPLY:
                robot.answered_ns = self.now_ns


def _said(effect: ToRobot) -> str:
    """What an EVENT or a REJECT says, the broker's own or a replica's."""
    if effect.header.kind is Kind.REJECT:
        return "rejected"
    if effect.header.kind is not Kind.EVENT:
        return ""
    body = effect.payload
    return body.what if isinstance(body, Event) else str(body[1])  # type: ignore[index]

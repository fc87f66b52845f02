"""Two routing cores of one site, with model replicas and robots, and links that can be cut.

Messages arrive at once; what is sent over a link that is cut arrives when it is mended in time, as
TCP has it, and never once the peers have made another connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from holdfast.actors.broker.effects import Effect, Received, ToReplica, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.actors.broker.routing import Routing
from holdfast.actors.network.broker_route import BrokerRoute
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.tests.properties.model_replica import ModelReplica
from holdfast.tests.properties.model_robot import BEAT_NS, ModelRobot

MS = 1_000_000
STEP_NS = 20 * MS
RECONNECTED_NS = 2_000 * MS
"""After such a silence the peers have made another connection."""
BROKERS = (0, 1)
Link = tuple[str, int]


class TwoBrokers:
    """The site. A link is (name of a robot or a replica, broker)."""

    def __init__(self, robots: int, capacities: list[int]) -> None:
        self.now_ns = 1_000_000 * MS
        self.alive = dict.fromkeys(BROKERS, True)
        self.routing = {k: self._fresh(k) for k in BROKERS}
        self.cut: dict[Link, tuple[int, list[Callable[[], None]]]] = {}
        """The links that are cut: since when, and what was sent meanwhile."""
        self._due: deque[Callable[[], None]] = deque()
        self.replicas = {f"s/{i}": self._replica(i, each) for i, each in enumerate(capacities)}
        self.robots = {f"r{i}": self._robot(i) for i in range(robots)}
        for k in BROKERS:
            self._meet(k)
        self._deliver()

    # Faults

    def kill(self, broker: int) -> None:
        self.alive[broker] = False
        for robot in self.robots.values():
            robot.route.connection(broker, is_open=False)

    def revive(self, broker: int) -> None:
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
            self.replicas[name].register(broker, self.now_ns)
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
                robot.live(self.now_ns)
            for replica in self.replicas.values():
                replica.live(self.now_ns)
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

    # Parts

    def _fresh(self, broker: int) -> Routing:
        config = BrokerConfig(front="", back="")
        return Routing(config, f"broker{broker}", self.now_ns)

    def _replica(self, number: int, capacity: int) -> ModelReplica:
        peer = Peer(f"s/{number}:1".encode(), f"s/{number}", 1)
        heard_ns = [self.now_ns for _ in BROKERS]
        return ModelReplica(peer, capacity, partial(self._from_replica, peer), heard_ns)

    def _robot(self, number: int) -> ModelRobot:
        peer = Peer(f"r{number}:1".encode(), f"r{number}", 1)
        route = BrokerRoute(len(BROKERS), BEAT_NS)
        return ModelRobot(peer, self.alive, route, partial(self._from_robot, peer))

    def _meet(self, broker: int) -> None:
        """All peers have a new connection to `broker`."""
        for replica in self.replicas.values():
            replica.register(broker, self.now_ns)
        for robot in self.robots.values():
            robot.connected(broker)

    # Messages

    def _deliver(self) -> None:
        while self._due:
            self._due.popleft()()

    def _carry_out(self, broker: int, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ToReplica | ToRobot):
                name = effect.identity.decode().partition(":")[0]
                self._pass((name, broker), partial(self._to_peer, name, broker, effect))

    def _pass(self, link: Link, arrives: Callable[[], None]) -> None:
        if link in self.cut:
            self.cut[link][1].append(arrives)
        else:
            self._due.append(arrives)

    def _to_peer(self, name: str, broker: int, effect: ToReplica | ToRobot) -> None:
        if isinstance(effect, ToReplica):
            self.replicas[name].receive(broker, effect, self.now_ns)
        else:
            self.robots[name].receive(broker, effect, self.now_ns)

    def _from_robot(self, peer: Peer, broker: int, what: Received) -> None:
        def handle(routing: Routing) -> list[Effect]:
            return routing.from_robot(peer, what, self.now_ns)

        self._to_broker((peer.name, broker), handle)

    def _from_replica(self, peer: Peer, broker: int, what: Received, robot: str) -> None:
        def handle(routing: Routing) -> list[Effect]:
            return routing.from_replica(peer, robot, what, self.now_ns)

        self._to_broker((peer.name, broker), handle)

    def _to_broker(self, link: Link, handle: Callable[[Routing], list[Effect]]) -> None:
        """Unless it has ended, or was started anew, before the message arrives."""
        broker = link[1]
        routing = self.routing[broker]

        def arrives() -> None:
            if self.alive[broker] and self.routing[broker] is routing:
                self._carry_out(broker, handle(routing))

        self._pass(link, arrives)

"""The broker's routing under everything that peers, links and time can do, in any order.

What must hold is checked by the model of the peers, `routing_site`.
"""

from __future__ import annotations

from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.actors.broker.peers import Peer
from holdfast.tests.properties.routing_peers import FakeReplica, FakeRobot, message
from holdfast.tests.properties.routing_site import MS, RoutingSite
from holdfast.transport.bodies import Close
from holdfast.transport.header import Kind

SERVICES = ("flow", "flow", "flow", "act")
NAMES = ("r1", "r2", "r3")
HOSTS = (0, 1)
Fake = TypeVar("Fake", FakeReplica, FakeRobot)


def pick(data: st.DataObject, options: list[Fake]) -> Fake:
    """One of them, drawn by its name, so that a failing example is short to read."""
    by_name = {fake.peer.identity.decode(): fake for fake in options}
    return by_name[data.draw(st.sampled_from(sorted(by_name)))]


class RoutingMachine(RuleBasedStateMachine):
    """Everything that peers, links and time can do to a broker, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.site = RoutingSite()
        self.incarnation = 0

    @initialize(
        capacities=st.lists(st.integers(1, 4), min_size=1, max_size=3),
        limit=st.none() | st.integers(1, 4),
    )
    def begin(self, capacities: list[int], limit: int | None) -> None:
        """A site at work; everything else that a broker goes through, happens to it later."""
        if limit is not None:
            self.site.limits["flow"] = limit
        for k, capacity in enumerate(capacities):
            self.start_replica(k, "flow", capacity)
        for name in NAMES:
            self.start_robot(name, "flow")
        for robot in self.site.present():
            self.site.open(robot)
        for replica in self.site.living():
            self.site.work(replica)

    # Replicas

    @rule(k=st.integers(0, 2), service=st.sampled_from(SERVICES), capacity=st.integers(1, 3))
    def start_replica(self, k: int, service: str, capacity: int) -> None:
        name = f"{service}/{k}"
        for replica in self.site.replicas.values():
            if replica.peer.name == name:
                replica.up = False
        self.incarnation += 1
        identity = f"{name}:{self.incarnation}".encode()
        replica = FakeReplica(Peer(identity, name, self.incarnation), capacity)
        self.site.replicas[identity] = replica
        self.site.register(replica)

    @precondition(lambda self: self.site.living())
    @rule(data=st.data(), found=st.booleans())
    def kill_replica(self, data: st.DataObject, found: bool) -> None:
        replica = pick(data, self.site.living())
        replica.up = False
        if found:
            self.site.carry_out(self.site.routing.disconnected(self.site.now_ns))

    @precondition(lambda self: self.site.living())
    @rule(host=st.sampled_from(HOSTS), found=st.booleans())
    def kill_host(self, host: int, found: bool) -> None:
        """All its replicas die at once, of whichever services."""
        for replica in self.on(host):
            replica.up = False
        if found:
            self.site.carry_out(self.site.routing.disconnected(self.site.now_ns))

    @precondition(lambda self: self.site.living())
    @rule(host=st.sampled_from(HOSTS), for_ms=st.sampled_from((0, 400, 2500, 6000)))
    def cut_host(self, host: int, for_ms: int) -> None:
        """Nothing reaches its replicas or comes from them; what they answer once the link is whole
        again may be late."""
        cut = self.on(host)
        for replica in cut:
            replica.hung = True
        self.site.advance(for_ms * MS)
        for replica in cut:
            self.wake(replica)

    @precondition(lambda self: self.site.living())
    @rule(data=st.data())
    def hang_replica(self, data: st.DataObject) -> None:
        pick(data, self.site.living()).hung = True

    @precondition(lambda self: self.hung())
    @rule(data=st.data())
    def wake_replica(self, data: st.DataObject) -> None:
        """What it answers now may be late: the requests it finds were replayed elsewhere."""
        self.wake(pick(data, self.hung()))

    @precondition(lambda self: self.site.living())
    @rule(data=st.data(), for_ms=st.integers(1, 1500))
    def fill_socket(self, data: st.DataObject, for_ms: int) -> None:
        replica = pick(data, self.site.living())
        replica.full = True
        replica.full_until_ns = self.site.now_ns + for_ms * MS

    @precondition(lambda self: self.site.living())
    @rule(data=st.data(), picky=st.booleans())
    def change_mind(self, data: st.DataObject, picky: bool) -> None:
        pick(data, self.site.living()).picky = picky

    @precondition(lambda self: any(r.listed for r in self.site.living()))
    @rule(data=st.data())
    def drain_replica(self, data: st.DataObject) -> None:
        listed = [r for r in self.site.living() if r.listed]
        self.site.drain(pick(data, listed))

    @precondition(lambda self: self.site.living())
    @rule(data=st.data())
    def register_again(self, data: st.DataObject) -> None:
        """Its connection broke and was made again."""
        replica = pick(data, self.site.living())
        self.site.work(replica)
        if not replica.draining:
            self.site.register(replica)

    @precondition(lambda self: self.site.living())
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        self.site.work(pick(data, self.site.living()))

    @precondition(lambda self: self.serving())
    @rule(data=st.data(), how=st.sampled_from(("dies", "hangs", "wakes")))
    def fail_in_flight(self, data: st.DataObject, how: str) -> None:
        """The one that matters: the replica that a robot waits for is no more, or is late."""
        replica = pick(data, self.serving())
        if how == "dies":
            replica.up = False
            self.site.carry_out(self.site.routing.disconnected(self.site.now_ns))
            return
        self.site.work(replica)
        replica.hung = True
        self.site.advance(2500 * MS)
        if how == "wakes":
            self.wake(replica)

    @precondition(lambda self: self.pending())
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        replica = pick(data, [replica for replica, _ in self.pending()])
        robot = data.draw(st.sampled_from(sorted(replica.pending)))
        self.site.answer(replica, robot)

    # Robots

    @rule(name=st.sampled_from(NAMES), service=st.sampled_from(SERVICES))
    def start_robot(self, name: str, service: str) -> None:
        """A first robot of the name, or another one that has the same name by mistake."""
        if sum(robot.name == name for robot in self.site.present()) > 1:
            return
        self.incarnation += 1
        identity = f"{name}:{self.incarnation}".encode()
        peer = Peer(identity, name, self.incarnation)
        self.site.robots[identity] = FakeRobot(peer, service)

    @precondition(lambda self: self.site.present())
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        robot = pick(data, self.site.present())
        self.site.open(robot)

    @precondition(lambda self: self.site.present())
    @rule(data=st.data())
    def leap(self, data: st.DataObject) -> None:
        """One OPEN with an epoch that no counting reaches; the robot goes on from where it was."""
        robot = pick(data, self.site.present())
        before, robot.epoch = robot.epoch, 2**32 - 2
        self.site.open(robot)
        robot.epoch = before
        self.site.open(robot)
        assert self.site.sessions.get(robot.name, (b"", b"", 0))[2] != 2**32 - 1

    @precondition(lambda self: self.in_state("closed"))
    @rule(data=st.data(), gets_there=st.booleans())
    def reopen(self, data: st.DataObject, gets_there: bool) -> None:
        """What control does when its session is lost; most often it comes back at once."""
        self.site.open(pick(data, self.in_state("closed")))
        for replica in self.site.living() if gets_there else ():
            self.site.work(replica)

    @precondition(lambda self: self.in_state("open"))
    @rule(data=st.data(), gets_there=st.booleans())
    def request(self, data: st.DataObject, gets_there: bool) -> None:
        self.site.request(pick(data, self.in_state("open")))
        for replica in self.site.living() if gets_there else ():
            self.site.work(replica)

    @precondition(lambda self: self.in_state("open"))
    @rule()
    def request_all(self) -> None:
        for robot in self.in_state("open"):
            self.site.request(robot)

    @precondition(lambda self: self.in_state("open", "opening"))
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        self.site.close(pick(data, self.in_state("open", "opening")))

    @precondition(lambda self: self.in_state("open"))
    @rule(data=st.data())
    def close_late(self, data: st.DataObject) -> None:
        """The end of the session before: it must not end this one."""
        robot = pick(data, self.in_state("open"))
        before = dict(self.site.sessions)
        old = message(Kind.CLOSE, Close(), epoch=robot.epoch - 1)
        self.site.hear(robot, old)
        assert self.site.sessions == before

    @precondition(lambda self: self.site.present())
    @rule(data=st.data())
    def restart_network(self, data: st.DataObject) -> None:
        """Its network actor dies; the next incarnation has no session, and opens the next epoch."""
        robot = pick(data, self.site.present())
        robot.reachable = False
        self.incarnation += 1
        identity = f"{robot.name}:{self.incarnation}".encode()
        self.site.robots[identity] = FakeRobot(
            Peer(identity, robot.name, self.incarnation),
            robot.service,
            epoch=robot.epoch,
            seq=robot.seq,
        )

    @rule(name=st.sampled_from(NAMES), service=st.sampled_from(SERVICES), gets_there=st.booleans())
    def inquire(self, name: str, service: str, gets_there: bool) -> None:
        """An inquiry changes no session, whatever its answer will be."""
        self.incarnation += 1
        peer = Peer(f"{name}:0:{self.incarnation}".encode(), name, 0)
        site = self.site
        before = dict(site.sessions), site.routing.status(site.now_ns)["sessions"]
        held = {k: (dict(r.sessions), dict(r.pending)) for k, r in site.replicas.items()}
        listed = {k: r.listed for k, r in site.replicas.items()}
        site.inquire(FakeRobot(peer, service, epoch=self.incarnation))
        if listed == {k: r.listed for k, r in site.replicas.items()}:  # no replica was found dead
            assert before == (dict(site.sessions), site.routing.status(site.now_ns)["sessions"])
        assert held == {k: (dict(r.sessions), dict(r.pending)) for k, r in site.replicas.items()}
        for replica in site.living() if gets_there else ():
            site.work(replica)

    @precondition(lambda self: self.site.present())
    @rule(data=st.data())
    def fall_silent(self, data: st.DataObject) -> None:
        pick(data, self.site.present()).silent = True

    @precondition(lambda self: self.site.present())
    @rule(data=st.data(), full=st.booleans())
    def stop_reading(self, data: st.DataObject, full: bool) -> None:
        pick(data, self.site.present()).full = full

    # Time

    @rule(ms=st.sampled_from((10, 100, 500, 1000, 2500, 6000)))
    def advance(self, ms: int) -> None:
        self.site.advance(ms * MS)

    @rule()
    def restart_broker(self) -> None:
        self.site.restart_broker()

    @invariant()
    def no_replica_and_no_service_holds_more_than_it_offers(self) -> None:
        self.site.check_capacity()

    @invariant()
    def no_request_is_lost(self) -> None:
        self.site.check_requests()

    def teardown(self) -> None:
        """Once all live replicas work again, every request has been answered."""
        for replica in self.hung():
            self.wake(replica)
        for robot in self.site.present():
            robot.full = False
        for _ in range(16):
            self.site.advance(500 * MS)
            for replica, name in self.pending():
                self.site.answer(replica, name)
        for robot in self.site.present():
            waits = robot.state == "open" and robot.waiting is not None
            assert not waits, f"{robot.name} waits for {robot.waiting} although replicas live"
        for replica in [r for r in self.site.living() if r.listed]:
            held = {
                name for name, at in self.site.sessions.items() if at[1] == replica.peer.identity
            }
            assert set(replica.sessions) == held, "no replica keeps a session that no robot has"

    def wake(self, replica: FakeReplica) -> None:
        replica.hung = False
        self.site.work(replica)
        for robot in list(replica.pending):
            self.site.answer(replica, robot)

    def on(self, host: int) -> list[FakeReplica]:
        """The living replicas of one of two hosts, by their numbers."""
        return [
            replica
            for replica in self.site.living()
            if int(replica.peer.name.rpartition("/")[2]) % len(HOSTS) == host
        ]

    def hung(self) -> list[FakeReplica]:
        return [r for r in self.site.replicas.values() if r.up and r.hung]

    def serving(self) -> list[FakeReplica]:
        """Living replicas that a robot waits for."""
        waiting = {robot.name for robot in self.in_state("open") if robot.waiting is not None}
        at = {held[1] for name, held in self.site.sessions.items() if name in waiting}
        return [r for r in self.site.living() if r.peer.identity in at]

    def pending(self) -> list[tuple[FakeReplica, str]]:
        return [(r, robot) for r in self.site.living() for robot in sorted(r.pending)]

    def in_state(self, *states: str) -> list[FakeRobot]:
        return [robot for robot in self.site.present() if robot.state in states]


TestRouting = RoutingMachine.TestCase
TestRouting.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)

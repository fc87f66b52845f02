"""Which broker a robot uses, by what it hears."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.actors.network.broker_route import (
    FIRST_OVERDUE_NS,
    HOLD_NS,
    OVERDUE_NS,
    BrokerRoute,
)

MS = 1_000_000
BEAT_NS = 500 * MS
TICK_NS = 20 * MS


class SimulatedLinks:
    """A robot's route over brokers that answer heartbeats, or do not."""

    def __init__(self, brokers: int) -> None:
        self.route = BrokerRoute(brokers, BEAT_NS)
        self.now_ns = 1_000_000 * MS
        self.cut: set[int] = set()
        self.dead: set[int] = set()
        self._beat_ns = 0
        for k in range(brokers):
            self.route.connection(k, is_open=True)
            self.route.heard(k, self.now_ns)
        self.route.begin(self.now_ns)
        self.route.accepted(self.now_ns)

    def run(self, ms: int) -> list[int]:
        """Let time pass, with the actor's own turns; the brokers that the robot went to, each of
        which accepts it at once if it is there."""
        went = []
        for _ in range(0, ms, TICK_NS // MS):
            self.now_ns += TICK_NS
            if self.now_ns >= self._beat_ns or self.route.probe_due(self.now_ns):
                self._beat_ns = self.now_ns + BEAT_NS
                for k in set(range(len(self.route.paths))) - self.dead:
                    self.route.beaten(k, self.now_ns)
                    if k not in self.cut:
                        self.route.heard(k, self.now_ns, self.now_ns - MS)
            to = self.route.due(self.now_ns)
            if to is not None:
                went.append(to)
                if to not in self.cut | self.dead:
                    self.route.heard(to, self.now_ns)
                    self.route.accepted(self.now_ns)
        return went


def test_the_first_broker_that_answers_is_used() -> None:
    """In their order; one that is connected and silent only if none answers."""
    route = BrokerRoute(3, BEAT_NS)
    for k in (1, 2):
        route.connection(k, is_open=True)
    route.heard(2, 10 * BEAT_NS)
    assert route.begin(10 * BEAT_NS) == 2
    assert route.begin(20 * BEAT_NS) == 1
    route.heard(0, 20 * BEAT_NS)
    assert route.begin(20 * BEAT_NS) == 0


def test_a_broken_connection_is_left_at_once() -> None:
    """For one that answers; where none does the robot stays."""
    links = SimulatedLinks(2)
    links.dead = {0}
    links.route.connection(0, is_open=False)
    assert links.run(20) == [1]
    links.dead = {0, 1}
    links.route.connection(1, is_open=False)
    assert links.run(3000) == []


def test_a_silent_broker_is_left_before_a_plan_of_half_a_second_is_played() -> None:
    """With 150 ms left for the handshake and the answer, from the request on."""
    links = SimulatedLinks(2)
    links.run(1000)
    links.cut = {0}
    links.route.asked(links.now_ns)
    assert links.run(350) == [1]


def test_an_answer_that_does_not_come_is_asked_of_another_broker() -> None:
    """After twice the longest latency, at least 0.3 s, and not again within two seconds."""
    links = SimulatedLinks(2)
    for _ in range(3):
        links.route.asked(links.now_ns)
        links.run(60)
        links.route.answered(links.now_ns)
    links.route.asked(links.now_ns)
    assert links.run(OVERDUE_NS // MS) == []
    assert links.run(60) == [1]
    assert links.run(HOLD_NS // MS - 100) == []
    assert links.run(200) == [0]


def test_a_robot_whose_own_link_is_cut_stays() -> None:
    """Silence of all brokers is no reason to leave one."""
    links = SimulatedLinks(3)
    links.cut = {0, 1, 2}
    links.route.asked(links.now_ns)
    assert links.run(1900) == []


class RouteMachine(RuleBasedStateMachine):
    """Brokers that break, fall silent, refuse and come back in any order."""

    @initialize(brokers=st.integers(1, 3))
    def begin(self, brokers: int) -> None:
        self.links = SimulatedLinks(brokers)
        self.many = brokers > 1
        self.moves = 0

    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        self.links.cut ^= {data.draw(st.integers(0, len(self.links.route.paths) - 1))}

    @rule(data=st.data())
    def break_or_mend(self, data: st.DataObject) -> None:
        k = data.draw(st.integers(0, len(self.links.route.paths) - 1))
        self.links.dead ^= {k}
        self.links.route.connection(k, is_open=k not in self.links.dead)

    @rule()
    def ask(self) -> None:
        self.links.route.asked(self.links.now_ns)

    @rule()
    def answer(self) -> None:
        if self.links.route.current not in self.links.cut | self.links.dead:
            self.links.route.answered(self.links.now_ns)

    @rule()
    def refuse(self) -> None:
        current = self.links.route.current
        to = self.links.route.refused(self.links.now_ns)
        assert to != current
        if to is not None and to not in self.links.cut | self.links.dead:
            self.links.route.heard(to, self.links.now_ns)
            self.links.route.accepted(self.links.now_ns)

    @rule(ms=st.integers(20, 3000))
    def wait(self, ms: int) -> None:
        for to in self.links.run(ms):
            assert to not in self.links.dead, "it goes where there is a connection"

    @rule()
    @precondition(lambda self: self.many)
    def a_broker_that_answers_is_found(self) -> None:
        """While one is there it serves the robot that awaits an answer, within 2.5 s."""
        links = self.links
        there = set(range(len(links.route.paths))) - links.cut - links.dead
        links.route.asked(links.now_ns)
        links.run(2500)
        if there:
            assert links.route.current in there
        links.route.answered(links.now_ns)
        links.run(FIRST_OVERDUE_NS // MS)

    @invariant()
    def one_broker_is_never_left(self) -> None:
        route = self.links.route
        assert self.many or (route.current, route.move) == (0, 0)


TestRoute = RouteMachine.TestCase


def test_a_connection_that_brings_neither_answer_nor_heartbeats_is_made_anew() -> None:
    """After 0.7 s, or twice the longest of the last requests: images may be in the way."""
    for usual_ms, bound_ms in ((50, 700), (600, 1200)):
        route = BrokerRoute(1, BEAT_NS)
        route.connection(0, is_open=True)
        route.begin(0)
        route.accepted(0)
        route.asked(0)
        route.beaten(0, 0)
        assert not route.unheard(0, 10_000 * MS), "how long an answer takes is not known yet"
        route.heard(0, 1)
        route.answered(usual_ms * MS)
        route.beaten(0, 1000 * MS)
        assert not route.unheard(0, 10_000 * MS), "no answer is awaited"
        route.asked(1000 * MS)
        assert not route.unheard(0, (1000 + bound_ms) * MS)
        assert route.unheard(0, (1001 + bound_ms) * MS)
        route.connection(0, is_open=False)
        assert not route.unheard(0, 10_000 * MS), "it is being made"

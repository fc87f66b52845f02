"""A broker that was paused: it discounts that time, and not more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.broker.callers import Callers
from holdfast.actors.broker.effects import Received
from holdfast.actors.broker.peers import Peer
from holdfast.actors.broker.replicas import Replica
from holdfast.actors.broker.sessions import RoutedSession, Sessions
from holdfast.tests.actors.broker.desk import SECOND, Desk, asking, offering
from holdfast.transport.bodies import Heartbeat
from holdfast.transport.header import Header, Kind

ROBOTS = "abcdef"
BOUND = 5
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.one_of(
            st.tuples(st.just("heard"), st.sampled_from(ROBOTS)),
            st.tuples(st.just("pause"), st.integers(1, 20)),
        ),
    ),
    max_size=40,
)
"""How much time passes, and what happens then: a robot is heard of, or the broker was paused."""


@given(EVENTS)
def test_the_silent_sessions_are_those_of_a_look_at_all(
    events: list[tuple[int, tuple[str, str | int]]],
) -> None:
    """Whatever pauses were discounted: none that is silent is behind one that is not."""
    sessions, now = Sessions(), 0
    replica = Replica(Peer(b"x/0:1", "x/0", 1), offering("x/0"), 1, 0, 0)
    for robot in ROBOTS:
        opening = Received(Header(Kind.OPEN, epoch=1), [], asking(robot))
        peer = Peer(f"{robot}:1".encode(), robot, 1)
        sessions.place(RoutedSession(peer, opening, "x", b"", 0, 0, 0), replica, 0)
    for passed, (what, of) in events:
        now += passed
        if what == "heard":
            held = sessions.of(str(of))
            assert held is not None
            sessions.heard(held, now)
        else:
            for session in sessions:
                session.shift(int(of), now)
        assert all(session.seen_ns <= now for session in sessions)
        silent = {session.robot for session in sessions if session.seen_ns <= now - BOUND}
        assert {session.robot for session in sessions.silent(now - BOUND)} == silent


@given(EVENTS)
def test_the_callers_that_expire_are_those_of_a_look_at_all(
    events: list[tuple[int, tuple[str, str | int]]],
) -> None:
    """Those not heard of since the bound are gone, whatever pauses were discounted."""
    callers, now = Callers(), 0
    for passed, (what, of) in events:
        now += passed
        if what == "heard":
            callers.beat(str(of), Heartbeat(progress=1), now)
        else:
            callers.shift(int(of), now)
        kept = {caller.name for caller in callers if caller.heard_ns >= now - BOUND}
        callers.expire(now - BOUND)
        assert {caller.name for caller in callers} == kept


def test_what_is_heard_before_the_first_tick_after_a_pause_counts_from_then(desk: Desk) -> None:
    """A robot or replica that falls silent later is noticed as soon as without the pause."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.opened("r2:1")
    desk.wait(1.0, beats=("flow/0:1",), robots=("r1:1", "r2:1"))
    desk.now_ns += 60 * SECOND
    desk.robot("r1:1", Heartbeat(progress=100))
    desk.replica("flow/0:1", Heartbeat(progress=100))
    desk.routing.tick(desk.now_ns)
    desk.wait(1.0, beats=("flow/0:1",), robots=("r2:1",))
    assert set(desk.sessions()) == {"r1", "r2"}
    desk.wait(5.0, beats=("flow/0:1",), robots=("r2:1",))
    assert set(desk.sessions()) == {"r2"}
    desk.wait(3.0, robots=("r2:1",))
    assert not desk.sessions()

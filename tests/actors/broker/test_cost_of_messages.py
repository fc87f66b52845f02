"""What a message costs the routing core does not depend on how many sessions there are."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.broker.effects import Received, ToReplica, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.actors.broker.replicas import Replica
from holdfast.actors.broker.sessions import RoutedSession, Sessions
from holdfast.tests.actors.broker.desk import Desk, Sent, asking, is_a, offering
from holdfast.transport.bodies import Heartbeat
from holdfast.transport.header import Header, Kind

Exchange = Callable[[Desk, str, int], object]


def filled(sessions: int) -> Desk:
    """A desk with two replicas and so many sessions."""
    desk = Desk()
    for k in range(2):
        desk.register(f"flow/{k}:1", capacity=sessions)
    for k in range(sessions):
        desk.opened(f"r{k}:1")
    return desk


def calls_of(what: Callable[[], object]) -> int:
    """How many functions `what` calls, Python's and C's, generators' turns included."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        what()
    finally:
        sys.setprofile(None)
    return calls


def beat(desk: Desk, robot: str, seq: int) -> None:
    desk.robot(f"{robot}:1", Heartbeat(progress=seq), epoch=1)


def ask(desk: Desk, robot: str, seq: int) -> list[Any]:
    return desk.robot(f"{robot}:1", Kind.REQUEST, epoch=1, seq=seq)


def exchange(desk: Desk, robot: str, seq: int) -> None:
    """A request and its answer."""
    (sent,) = [e for e in ask(desk, robot, seq) if isinstance(e, ToReplica)]
    desk.replica(sent.identity.decode(), Kind.REPLY, robot, epoch=1, seq=seq)


def retry(desk: Desk, robot: str, seq: int) -> None:
    """A request that a full socket did not take is sent again."""
    (sent,) = [e for e in ask(desk, robot, seq) if isinstance(e, ToReplica)]
    desk.routing.undelivered(sent, "full", desk.now_ns)
    assert desk.routing.waits()
    (again,) = [e for e in desk.routing.retry(desk.now_ns) if is_a(e, ToReplica, Kind.REQUEST)]
    assert again == sent and not desk.routing.waits()


def unreachable(desk: Desk, robot: str, seq: int) -> None:
    """A robot does not get its answer."""
    (sent,) = [e for e in ask(desk, robot, seq) if isinstance(e, ToReplica)]
    (reply,) = desk.replica(sent.identity.decode(), Kind.REPLY, robot, epoch=1, seq=seq)
    desk.routing.undelivered(reply, "unreachable", desk.now_ns)  # type: ignore[arg-type]


def open_anew(desk: Desk, robot: str, seq: int) -> None:
    """A robot whose session was there opens another one."""
    desk.opened(f"{robot}:1", epoch=1 + seq)


@pytest.mark.parametrize("what", [beat, exchange, retry, unreachable, open_anew])
def test_a_message_costs_as_much_with_300_sessions_as_with_3(what: Exchange) -> None:
    """Counted in calls of functions, so that a busy machine finds the same."""
    costs = []
    for sessions in (3, 300):
        desk = filled(sessions)
        what(desk, "r1", 1)  # the first fills the counters' tables
        # The least of several: what the interpreter collects or sets up meanwhile is counted too.
        counted = [calls_of(partial(what, desk, "r1", seq)) for seq in (2, 3, 4)]
        costs.append(min(counted))
    assert costs[0] == costs[1]


def test_a_robot_of_a_long_name_that_is_unreachable_is_noticed(desk: Desk, sent: Sent) -> None:
    """Its name is found in its routing id whole, not as it is counted."""
    desk.register("flow/0:1")
    name = "r" * 100
    desk.opened(f"{name}:1")
    unreachable(desk, name, 1)
    late = desk.robot(f"{name}:1", Heartbeat(progress=1), epoch=1, seq=1)
    assert len(sent(late, ToRobot, Kind.REPLY)) == desk.count("delivered-late") == 1


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from(["x/0", "x/1", "x/2", ""])),
        max_size=40,
    )
)
def test_the_sessions_of_a_replica_are_those_of_the_table(moves: list[tuple[str, str]]) -> None:
    """Whatever order sessions are placed, moved, replaced and removed in."""
    sessions, place = Sessions(), Desk()
    for name in ("x/0", "x/1", "x/2"):
        place.register(f"{name}:1")
    replicas = {
        name: Replica(Peer(f"{name}:1".encode(), name, 1), offering(name), 1, 0, 0)
        for name in ("x/0", "x/1", "x/2")
    }
    for robot, at in moves:
        held = sessions.of(robot)
        if not at:
            if held is not None:
                assert sessions.remove(held) and not sessions.remove(held)
            continue
        sessions.place(held or session_of(robot), replicas[at], 0)
        table = list(sessions)
        assert sessions.loads() == Counter(session.replica for session in table)
        for replica in replicas.values():
            there = {s.robot for s in table if s.replica == replica.identity}
            assert {s.robot for s in sessions.on(replica)} == there


def session_of(robot: str) -> RoutedSession:
    """A session of `robot` that is nowhere yet."""
    opening = Received(Header(Kind.OPEN, epoch=1), [], asking(robot))
    peer = Peer(f"{robot}:1".encode(), robot, 1)
    return RoutedSession(peer, opening, "x", b"", 0, 0, 0)

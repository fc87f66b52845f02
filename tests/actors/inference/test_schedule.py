"""The order in which a replica serves its sessions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.inference.schedule import Job, Order, Schedule

MS = 1_000_000


def job(
    session: str,
    seq: int = 1,
    *,
    at: int = 0,
    slack: int = 100,
    shape: str = "plain",
    life: int = 5000,
) -> Job[None]:
    """A request that arrived at `at` ms with `slack` ms of playback left."""
    return Job(
        session=session,
        seq=seq,
        shape=shape,
        arrived_ns=at * MS,
        deadline_ns=(at + slack) * MS,
        expires_ns=(at + life) * MS,
        payload=None,
    )


def schedule(max_batch: int = 4, max_wait: int = 5, order: Order = "deadline") -> Schedule[None]:
    return Schedule(max_batch=max_batch, max_wait_ns=max_wait * MS, order=order)


def test_the_robot_whose_plan_ends_first_is_served_first() -> None:
    s = schedule(max_batch=1)
    s.put(job("patient", at=0, slack=400))
    s.put(job("urgent", at=3, slack=50))
    assert [s.take(3 * MS, 2)[0].session for _ in range(2)] == ["urgent", "patient"]


def test_a_newer_request_takes_the_place_of_an_older_one() -> None:
    s = schedule()
    assert s.put(job("r1", seq=1)) is None
    superseded = s.put(job("r1", seq=2))
    assert superseded is not None and superseded.seq == 1
    assert [j.seq for j in s.take(0, 1)] == [2]
    assert s.take(0, 1) == []


def test_an_older_request_that_arrives_late_never_replaces_a_newer_one() -> None:
    s = schedule()
    s.put(job("r1", seq=5))
    late = job("r1", seq=4)
    assert s.put(late) is late
    assert [j.seq for j in s.take(0, 1)] == [5]


def test_a_request_that_is_repeated_does_not_take_its_own_place() -> None:
    s = schedule()
    s.put(job("r1", seq=5, at=0))
    again = job("r1", seq=5, at=3)
    assert s.put(again) is again
    assert [j.arrived_ns for j in s.take(5 * MS, 1)] == [0]


def test_batches_go_by_deadline_unless_told_otherwise() -> None:
    s: Schedule[None] = Schedule(max_batch=2, max_wait_ns=0)
    for name, slack in (("patient", 400), ("urgent", 50), ("soon", 100)):
        s.put(job(name, slack=slack))
    assert [j.session for j in s.take(0, 3)] == ["urgent", "soon"]


def test_whoever_comes_again_has_had_no_turn_yet() -> None:
    s = schedule(order="round_robin")
    for name in ("r1", "r2"):
        s.put(job(name, seq=1))
        s.take(0, 1)
    s.remove("r2")
    s.put(job("r1", seq=2, at=1))
    s.put(job("r2", seq=2, at=2))
    assert [s.take(2 * MS, 2)[0].session for _ in range(2)] == ["r2", "r1"]


def test_a_robot_that_repeats_itself_keeps_its_place() -> None:
    s = schedule(max_batch=1)
    s.put(job("r1", seq=1, at=0, slack=100))
    s.put(job("r2", seq=1, at=10, slack=100))
    s.put(job("r1", seq=2, at=50, slack=100))
    assert s.take(50 * MS, 2)[0].session == "r1"


def test_requests_of_the_same_shape_go_together() -> None:
    s = schedule()
    s.put(job("r1", shape="prefix", slack=10))
    s.put(job("r2", shape="plain", slack=20))
    s.put(job("r3", shape="prefix", slack=30))
    assert [j.session for j in s.take(0, 3)] == ["r1", "r3"]
    assert [j.session for j in s.take(0, 3)] == []
    assert s.due_ns(0, 3) == 5 * MS
    assert [j.session for j in s.take(5 * MS, 3)] == ["r2"]


def test_a_full_batch_does_not_wait() -> None:
    s = schedule(max_batch=2, max_wait=1000)
    s.put(job("r1", slack=5000))
    assert s.take(0, 9) == []
    s.put(job("r2", slack=5000))
    assert len(s.take(0, 9)) == 2


def test_nobody_waits_for_company_that_cannot_come() -> None:
    s = schedule(max_wait=1000)
    s.put(job("r1", slack=5000))
    assert s.take(0, 2) == []
    assert len(s.take(0, 1)) == 1


def test_waiting_for_company_ends_at_the_deadline() -> None:
    s = schedule(max_wait=1000)
    s.put(job("dry", slack=0))
    assert len(s.take(0, 9)) == 1


def test_round_robin_serves_one_at_a_time_in_turn() -> None:
    s = schedule(max_batch=8, order="round_robin")
    served = []
    for now in range(6):
        for robot in ("r1", "r2", "r3"):
            s.put(job(robot, seq=now + 1, at=now, slack=0 if robot == "r3" else 900))
        batch = s.take(now * MS, 3)
        assert len(batch) == 1
        served.append(batch[0].session)
    assert served == ["r1", "r2", "r3", "r1", "r2", "r3"]


def test_requests_nobody_waits_for_any_more_are_taken_out() -> None:
    s = schedule()
    s.put(job("gone", life=100))
    s.put(job("here", life=200))
    assert [j.session for j in s.expire(100 * MS)] == ["gone"]
    assert [j.session for j in s.take(100 * MS, 1)] == ["here"]


def test_a_closed_session_leaves_nothing_behind() -> None:
    s = schedule()
    s.put(job("r1"))
    assert s.remove("r1") is not None
    assert s.remove("r1") is None
    assert len(s) == 0 and s.due_ns(0, 1) is None


arrivals = st.lists(
    st.tuples(
        st.integers(0, 5),  # which robot
        st.integers(0, 60_000),  # its slack, ms: absurd values included
        st.sampled_from(["plain", "prefix"]),
        st.integers(0, 40),  # ms until the next event
        st.booleans(),  # does the device become free after this one
    ),
    min_size=1,
    max_size=120,
)


@pytest.mark.parametrize("order", ["deadline", "round_robin"])
@given(arrivals=arrivals, max_batch=st.integers(1, 4), max_wait=st.integers(0, 20))
def test_no_ready_session_starves(
    order: Order, arrivals: list[tuple[int, int, str, int, bool]], max_batch: int, max_wait: int
) -> None:
    """Once a request's deadline has passed (in round robin: at once), every other session is
    served at most once before it; and each request comes out at most once, newest wins."""
    max_slack = 500
    s: Schedule[None] = Schedule(
        max_batch=max_batch, max_wait_ns=max_wait * MS, order=order, max_slack_ns=max_slack * MS
    )
    now = 0
    newest: dict[str, int] = {}
    since: dict[str, int] = {}  # when the mailbox of a waiting session was first filled
    passed: dict[str, list[str]] = {}  # who was served ahead of it after it became entitled

    def serve() -> None:
        batch = s.take(now * MS, 99)
        assert len(batch) <= s.max_batch
        assert len({j.shape for j in batch}) <= 1
        for j in batch:
            assert j.seq == newest.pop(j.session)
            since.pop(j.session)
            passed.pop(j.session)
        for waiting, ahead in passed.items():
            if order == "round_robin" or now > since[waiting] + max_slack:
                ahead.extend(j.session for j in batch)
                assert len(ahead) == len(set(ahead)), f"{waiting} was overtaken twice: {ahead}"

    for seq, (robot, slack, shape, gap, free) in enumerate(arrivals, start=1):
        name = f"r{robot}"
        s.put(job(name, seq=seq, at=now, slack=slack, shape=shape))
        newest[name] = seq
        since.setdefault(name, now)
        passed.setdefault(name, [])
        now += gap
        if free:
            serve()
    now += max_wait
    for _ in range(6):
        serve()
    assert not newest, "everything that was ready has been served"


@given(
    waits=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 100)), min_size=1, max_size=6),
    max_wait=st.integers(0, 20),
)
def test_due_is_exactly_when_take_has_something(
    waits: list[tuple[int, int]], max_wait: int
) -> None:
    s = schedule(max_batch=8, max_wait=max_wait)
    for i, (at, slack) in enumerate(waits):
        s.put(job(f"r{i}", at=at, slack=slack))
    due = s.due_ns(0, 99)
    assert due is not None
    if due > 0:
        assert s.take(due - 1, 99) == []
    assert s.take(due, 99)

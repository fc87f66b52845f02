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
    at_ms: int = 0,
    slack_ms: int = 100,
    shape: str = "plain",
    life_ms: int = 5000,
) -> Job[None]:
    """A request that arrived at `at_ms` with `slack_ms` of playback left."""
    return Job(
        session=session,
        seq=seq,
        shape=shape,
        arrived_ns=at_ms * MS,
        deadline_ns=(at_ms + slack_ms) * MS,
        expires_ns=(at_ms + life_ms) * MS,
        payload=None,
    )


def schedule(max_batch: int = 4, max_wait_ms: int = 5, order: Order = "deadline") -> Schedule[None]:
    return Schedule(max_batch=max_batch, max_wait_ns=max_wait_ms * MS, order=order)


def test_the_robot_whose_plan_ends_first_is_served_first() -> None:
    """The earliest deadline comes first, regardless of the arrival."""
    s = schedule(max_batch=1)
    s.put(job("patient", at_ms=0, slack_ms=400))
    s.put(job("urgent", at_ms=3, slack_ms=50))
    assert [s.take(3 * MS, 2)[0].session for _ in range(2)] == ["urgent", "patient"]


def test_a_newer_request_replaces_an_older_one() -> None:
    """The older one is returned as superseded, and only the newer one is taken."""
    s = schedule()
    assert s.put(job("r1", seq=1)) is None
    superseded = s.put(job("r1", seq=2))
    assert superseded is not None and superseded.seq == 1
    assert [j.seq for j in s.take(0, 1)] == [2]
    assert s.take(0, 1) == []


def test_an_older_request_that_arrives_late_never_replaces_a_newer_one() -> None:
    """The late request is returned, and the newer one is taken."""
    s = schedule()
    s.put(job("r1", seq=5))
    late = job("r1", seq=4)
    assert s.put(late) is late
    assert [j.seq for j in s.take(0, 1)] == [5]


def test_a_repeated_request_does_not_replace_the_first() -> None:
    """The arrival of the first one stays."""
    s = schedule()
    s.put(job("r1", seq=5, at_ms=0))
    again = job("r1", seq=5, at_ms=3)
    assert s.put(again) is again
    assert [j.arrived_ns for j in s.take(5 * MS, 1)] == [0]


def test_batches_are_ordered_by_deadline_by_default() -> None:
    """The most urgent requests make the first batch."""
    s: Schedule[None] = Schedule(max_batch=2, max_wait_ns=0)
    for name, slack_ms in (("patient", 400), ("urgent", 50), ("soon", 100)):
        s.put(job(name, slack_ms=slack_ms))
    assert [j.session for j in s.take(0, 3)] == ["urgent", "soon"]


def test_a_removed_session_that_returns_has_had_no_turn() -> None:
    """In round robin it is served before the sessions that had one."""
    s = schedule(order="round_robin")
    for name in ("r1", "r2"):
        s.put(job(name, seq=1))
        s.take(0, 1)
    s.remove("r2")
    s.put(job("r1", seq=2, at_ms=1))
    s.put(job("r2", seq=2, at_ms=2))
    assert [s.take(2 * MS, 2)[0].session for _ in range(2)] == ["r2", "r1"]


def test_a_robot_that_sends_newer_requests_keeps_its_place() -> None:
    """A newer request inherits the earlier deadline."""
    s = schedule(max_batch=1)
    s.put(job("r1", seq=1, at_ms=0, slack_ms=100))
    s.put(job("r2", seq=1, at_ms=10, slack_ms=100))
    s.put(job("r1", seq=2, at_ms=50, slack_ms=100))
    assert s.take(50 * MS, 2)[0].session == "r1"


def test_requests_of_the_same_shape_share_a_batch() -> None:
    """A request of another shape waits for the next batch."""
    s = schedule()
    s.put(job("r1", shape="prefix", slack_ms=10))
    s.put(job("r2", shape="plain", slack_ms=20))
    s.put(job("r3", shape="prefix", slack_ms=30))
    assert [j.session for j in s.take(0, 3)] == ["r1", "r3"]
    assert [j.session for j in s.take(0, 3)] == []
    assert s.due_ns(0, 3) == 5 * MS
    assert [j.session for j in s.take(5 * MS, 3)] == ["r2"]


def test_a_full_batch_does_not_wait() -> None:
    """max_batch requests are due at once."""
    s = schedule(max_batch=2, max_wait_ms=1000)
    s.put(job("r1", slack_ms=5000))
    assert s.take(0, 9) == []
    s.put(job("r2", slack_ms=5000))
    assert len(s.take(0, 9)) == 2


def test_a_request_does_not_wait_when_every_session_has_one() -> None:
    """The batch is due at once when no other session could join."""
    s = schedule(max_wait_ms=1000)
    s.put(job("r1", slack_ms=5000))
    assert s.take(0, 2) == []
    assert len(s.take(0, 1)) == 1


def test_a_request_waits_for_others_no_longer_than_its_deadline() -> None:
    """A request without slack is due at once."""
    s = schedule(max_wait_ms=1000)
    s.put(job("dry", slack_ms=0))
    assert len(s.take(0, 9)) == 1


def test_round_robin_serves_the_sessions_one_at_a_time_in_turn() -> None:
    """Deadlines have no effect on the order."""
    s = schedule(max_batch=8, order="round_robin")
    served = []
    for now_ms in range(6):
        for robot in ("r1", "r2", "r3"):
            s.put(job(robot, seq=now_ms + 1, at_ms=now_ms, slack_ms=0 if robot == "r3" else 900))
        batch = s.take(now_ms * MS, 3)
        assert len(batch) == 1
        served.append(batch[0].session)
    assert served == ["r1", "r2", "r3", "r1", "r2", "r3"]


def test_expired_requests_are_removed() -> None:
    """Requests expire at `expires_ns`, and the others stay."""
    s = schedule()
    s.put(job("gone", life_ms=100))
    s.put(job("here", life_ms=200))
    assert [j.session for j in s.expire(100 * MS)] == ["gone"]
    assert [j.session for j in s.take(100 * MS, 1)] == ["here"]


def test_a_removed_session_leaves_nothing_behind() -> None:
    """A second removal returns None, and nothing is due."""
    s = schedule()
    s.put(job("r1"))
    assert s.remove("r1") is not None
    assert s.remove("r1") is None
    assert len(s) == 0 and s.due_ns(0, 1) is None


arrivals = st.lists(
    st.tuples(
        st.integers(0, 5),  # the robot
        st.integers(0, 60_000),  # its slack, ms, with absurd values
        st.sampled_from(["plain", "prefix"]),
        st.integers(0, 40),  # ms until the next event
        st.booleans(),  # whether the device becomes free after it
    ),
    min_size=1,
    max_size=120,
)


@pytest.mark.parametrize("order", ["deadline", "round_robin"])
@given(arrivals=arrivals, max_batch=st.integers(1, 4), max_wait_ms=st.integers(0, 20))
def test_a_ready_session_never_starves(
    order: Order, arrivals: list[tuple[int, int, str, int, bool]], max_batch: int, max_wait_ms: int
) -> None:
    """After its deadline every other session is served at most once before it."""
    max_slack_ms = 500
    s: Schedule[None] = Schedule(
        max_batch=max_batch,
        max_wait_ns=max_wait_ms * MS,
        order=order,
        max_slack_ns=max_slack_ms * MS,
    )
    now_ms = 0
    newest: dict[str, int] = {}
    since_ms: dict[str, int] = {}  # when the mailbox of a waiting session was first filled
    passed: dict[str, list[str]] = {}  # who was served ahead of it after it became entitled

    def serve() -> None:
        batch = s.take(now_ms * MS, 99)
        assert len(batch) <= s.max_batch
        assert len({j.shape for j in batch}) <= 1
        for j in batch:
            assert j.seq == newest.pop(j.session)
            since_ms.pop(j.session)
            passed.pop(j.session)
        for waiting, ahead in passed.items():
            if order == "round_robin" or now_ms > since_ms[waiting] + max_slack_ms:
                ahead.extend(j.session for j in batch)
                assert len(ahead) == len(set(ahead)), f"{waiting} was overtaken twice: {ahead}"

    for seq, (robot, slack_ms, shape, gap_ms, free) in enumerate(arrivals, start=1):
        name = f"r{robot}"
        s.put(job(name, seq=seq, at_ms=now_ms, slack_ms=slack_ms, shape=shape))
        newest[name] = seq
        since_ms.setdefault(name, now_ms)
        passed.setdefault(name, [])
        now_ms += gap_ms
        if free:
            serve()
    now_ms += max_wait_ms
    for _ in range(6):
        serve()
    assert not newest, "everything that was ready has been served"


@given(
    waits=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 100)), min_size=1, max_size=6),
    max_wait_ms=st.integers(0, 20),
)
def test_a_batch_is_taken_from_its_due_instant_on(
    waits: list[tuple[int, int]], max_wait_ms: int
) -> None:
    """`take` is empty before `due_ns` and not at it."""
    s = schedule(max_batch=8, max_wait_ms=max_wait_ms)
    for i, (at_ms, slack_ms) in enumerate(waits):
        s.put(job(f"r{i}", at_ms=at_ms, slack_ms=slack_ms))
    due_ns = s.due_ns(0, 99)
    assert due_ns is not None
    if due_ns > 0:
        assert s.take(due_ns - 1, 99) == []
    assert s.take(due_ns, 99)

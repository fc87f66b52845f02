"""The histories of robots whose requests fail or are slow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.inference.history import (
    MAX_LONE_REST_S,
    MAX_REST_S,
    MAX_ROBOTS,
    MAX_ROWS,
    REST_FACTOR,
    SLOW_IN_A_ROW,
    Histories,
)
from holdfast.actors.runtime.spec import Rules

S = 1_000_000_000


@given(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=50))
def test_a_robot_whose_requests_fail_gets_a_bounded_share_of_the_device(
    took: list[float],
) -> None:
    """Its share is at most 1 / (1 + REST_FACTOR) for every sequence of durations."""
    histories, now_ns, busy_s = Histories(), 0, 0.0
    for seconds in took:
        now_ns += round(histories.rest_s("bad", now_ns) * S)
        assert histories.rest_s("bad", now_ns) == 0
        now_ns += round(seconds * S)
        busy_s += seconds
        histories.failed("bad", "why", seconds, now_ns, shared=True)
    end_ns = now_ns + histories.rest_s("bad", now_ns) * S
    assert busy_s <= 1.001 * end_ns / S / (1 + REST_FACTOR)


def test_a_robot_without_others_does_not_rest() -> None:
    """A failure causes no rest while no other robot is served."""
    histories = Histories()
    histories.failed("bad", "why", 3.0, 0, shared=False)
    assert histories.rest_s("bad", 0) == 0
    assert histories.of("bad").alone


def test_a_success_ends_a_series_of_failures() -> None:
    """The robot shares batches again, the log line has the count, and the total stays."""
    histories = Histories()
    for _ in range(5):
        histories.failed("bad", "why", 0.1, 0, shared=True)
    assert "after 5 that failed" in histories.served("bad", 0.1, 0.1, True, S, shared=True)
    assert not histories.of("bad").alone
    assert histories.rows()["bad"]["failed"] == 5


def test_a_robot_that_is_slower_than_all_others_rests() -> None:
    """A robot rests after consecutive slow requests, and none does when all are slow."""
    histories = Histories()
    histories.served("bad", 3.0, 0.1, alone=False, now_ns=0, shared=True)
    assert histories.of("bad").alone
    for _ in range(SLOW_IN_A_ROW):
        histories.served("good", 0.1, 0.1, alone=False, now_ns=0, shared=True)
        histories.served("bad", 3.0, 0.1, alone=True, now_ns=0, shared=True)
    assert histories.rest_s("bad", 0) == 3.0 * REST_FACTOR
    assert histories.rest_s("good", 0) == 0
    slow = Histories()
    for _ in range(5 * SLOW_IN_A_ROW):
        for robot in ("r1", "r2"):
            slow.served(robot, 3.0, 0.1, alone=True, now_ns=0, shared=True)
            assert slow.rest_s(robot, 0) == 0


def test_failures_are_logged_at_a_bounded_rate() -> None:
    """A log line carries the number of failures since the last one."""
    histories = Histories()
    lines = [histories.failed("bad", "why", 0.0, i * S // 10, shared=True) for i in range(1000)]
    logged = [line for line in lines if line]
    assert 9 <= len(logged) <= 11
    assert "99 more" in logged[1] and "why" in logged[1]


def test_each_device_lost_at_a_robots_request_makes_the_robot_rest_longer() -> None:
    """The rests grow to a maximum, and the robots of a larger batch do not rest."""
    histories, rests = Histories(), []
    for _ in range(6):
        histories.lost(["bad"], "CUDA error", now_ns=0, shared=True)
        rests.append(histories.rest_s("bad", 0))
    assert rests == sorted(rests) and rests[0] >= 10 and rests[-1] == MAX_REST_S
    histories.lost(["a", "b"], "CUDA error", now_ns=0, shared=True)
    assert histories.rest_s("a", 0) == 0 and histories.of("a").alone


def test_the_only_robot_of_a_replica_rests_as_long_as_the_restarts_need() -> None:
    """Its longest rest keeps the restarts within the window that the default rules allow."""
    histories, rules = Histories(), Rules()
    for _ in range(6):
        histories.lost(["r1"], "ValueError: broke", now_ns=0, shared=False)
    assert histories.rest_s("r1", 0) == MAX_LONE_REST_S < MAX_REST_S
    assert rules.settle_s < MAX_LONE_REST_S == rules.window_s / rules.max_restarts


def test_the_next_incarnation_continues_from_the_rows() -> None:
    """Restored rows give the same rows and rests, and unknown keys are ignored."""
    histories, after = Histories(), Histories()
    histories.lost(["bad"], "CUDA error", now_ns=7, shared=True)
    histories.clipped("odd", 3)
    after.restore({name: {**row, "later": 1} for name, row in histories.rows().items()})
    assert after.rows() == histories.rows()
    assert after.rest_s("bad", 7) == histories.rest_s("bad", 7) > 0


def test_histories_and_their_rows_are_bounded() -> None:
    """The rows have short reasons, and a robot with failing requests comes first."""
    histories = Histories()
    for i in range(2 * MAX_ROBOTS):
        histories.failed(f"r{i}", "x" * 10_000, 0.0, 0, shared=True)
        if i != 2 * MAX_ROBOTS - 5:
            histories.served(f"r{i}", 0.0, 0.0, True, 0, shared=True)
    rows = histories.rows()
    assert len(rows) == MAX_ROWS
    assert next(iter(rows)) == f"r{2 * MAX_ROBOTS - 5}"
    assert all(len(row["reason"]) <= 200 for row in rows.values())

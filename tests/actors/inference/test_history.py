"""How the replica remembers each robot's requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.inference.history import (
    MAX_REST_S,
    MAX_ROBOTS,
    MAX_ROWS,
    REST_FACTOR,
    SLOW_IN_A_ROW,
    Histories,
)

S = 1_000_000_000


@given(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=50))
def test_a_robot_whose_requests_fail_gets_its_share_of_the_device_and_no_more(
    took: list[float],
) -> None:
    """Asked again as soon as it may, whatever its requests take."""
    histories, now, busy_s = Histories(), 0, 0.0
    for seconds in took:
        now += round(histories.rest_s("bad", now) * S)
        assert histories.rest_s("bad", now) == 0
        now += round(seconds * S)
        busy_s += seconds
        histories.failed("bad", "why", seconds, now, shared=True)
    end = now + histories.rest_s("bad", now) * S
    assert busy_s <= 1.001 * end / S / (1 + REST_FACTOR)


def test_a_robot_that_is_alone_here_does_not_rest() -> None:
    histories = Histories()
    histories.failed("bad", "why", 3.0, 0, shared=False)
    assert histories.rest_s("bad", 0) == 0
    assert histories.of("bad").alone


def test_one_success_ends_the_trouble() -> None:
    histories = Histories()
    for _ in range(5):
        histories.failed("bad", "why", 0.1, 0, shared=True)
    assert "after 5 that failed" in histories.served("bad", 0.1, 0.1, True, S, shared=True)
    assert not histories.of("bad").alone
    assert histories.rows()["bad"]["failed"] == 5


def test_a_robot_that_is_slower_than_others_is_made_to_rest_and_a_slow_machine_is_not() -> None:
    """The first slow request of a batch is anybody's."""
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


def test_failures_are_written_down_at_a_bounded_rate_and_none_is_left_out_of_the_count() -> None:
    histories = Histories()
    lines = [histories.failed("bad", "why", 0.0, i * S // 10, shared=True) for i in range(1000)]
    said = [line for line in lines if line]
    assert 9 <= len(said) <= 11
    assert "99 more" in said[1] and "why" in said[1]


def test_each_device_that_is_lost_at_one_robots_request_makes_it_rest_longer() -> None:
    histories, rests = Histories(), []
    for _ in range(6):
        histories.lost(["bad"], "CUDA error", now_ns=0)
        rests.append(histories.rest_s("bad", 0))
    assert rests == sorted(rests) and rests[0] >= 10 and rests[-1] == MAX_REST_S
    histories.lost(["a", "b"], "CUDA error", now_ns=0)
    assert histories.rest_s("a", 0) == 0 and histories.of("a").alone


def test_the_next_incarnation_goes_on_from_the_rows() -> None:
    histories, after = Histories(), Histories()
    histories.lost(["bad"], "CUDA error", now_ns=7)
    histories.clipped("odd", 3)
    after.restore({name: {**row, "later": 1} for name, row in histories.rows().items()})
    assert after.rows() == histories.rows()
    assert after.rest_s("bad", 7) == histories.rest_s("bad", 7) > 0


def test_histories_and_rows_are_bounded_and_those_in_trouble_come_first() -> None:
    histories = Histories()
    for i in range(2 * MAX_ROBOTS):
        histories.failed(f"r{i}", "x" * 10_000, 0.0, 0, shared=True)
        if i != 2 * MAX_ROBOTS - 5:
            histories.served(f"r{i}", 0.0, 0.0, True, 0, shared=True)
    rows = histories.rows()
    assert len(rows) == MAX_ROWS
    assert next(iter(rows)) == f"r{2 * MAX_ROBOTS - 5}"
    assert all(len(row["reason"]) <= 200 for row in rows.values())

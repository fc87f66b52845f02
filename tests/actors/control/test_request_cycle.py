"""Requests and their answers, case by case; the interleavings are in tests/properties."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.actors.control.plan import Drop
from holdfast.actors.control.plan_memory import PLAN_BYTES, Word
from holdfast.actors.control.supply_state import SupplyState
from holdfast.tests.actors.control.request_cycles import (
    CHUNK,
    MS,
    S,
    ask,
    key,
    new_cycle,
    opened,
    streaming,
)


def test_a_policy_without_prefixes_gets_none_in_any_merge_mode() -> None:
    """The merge mode stays that of the settings."""
    for merge in ("replace", "append", "blend"):
        cycle = opened(new_cycle(plan_settings={"merge": merge}), prefix="none")
        assert cycle.rule.mode == merge
        asked = cycle.ask(S, 10, S)
        assert asked is not None and asked.prefix is None


def test_a_request_is_made_once_less_than_buffer_time_s_of_the_plan_is_left() -> None:
    """It carries the prefix and the slack; the first of an episode says so."""
    cycle = opened(new_cycle())
    asked = cycle.ask(S, 10, S)
    assert asked is not None and asked.prefix is None and asked.episode_start
    cycle.asked(S)
    key = (asked.asked.seq, asked.asked.episode, asked.asked.epoch)
    assert cycle.replied(CHUNK, CHUNK, key, 11, S) is None
    assert cycle.state is SupplyState.STREAMING
    played = 0
    while (asked := cycle.ask(S, 11, S)) is None:
        assert cycle.buffer.pop(S) is not None
        played += 1
    assert played == 6, "0.4 s of 1 s are less than 0.5 s"
    assert asked.prefix is not None and asked.prefix.shape == (4, 2)
    assert asked.slack_s == 0.4 and not asked.episode_start


def test_no_request_is_made_from_a_state_that_is_too_old() -> None:
    """A chunk for it would be about a robot that has moved on."""
    cycle = opened(new_cycle())
    assert cycle.ask(S, 10, S + 600_000_000) is None


def test_an_awaited_chunk_has_a_reason_with_the_replica_and_the_duration() -> None:
    """Waiting, timed out and lost are distinguished."""
    cycle = opened(new_cycle(safety={"request_timeout_s": 2.0}))
    ask(cycle, S)
    cycle.elapse(2 * S)
    assert cycle.reason == "a chunk is awaited from s/0 (no chunk for 1 s)"
    cycle.elapse(3 * S)
    assert cycle.reason == "s/0 did not answer a request within 2 s (no chunk for 2 s)"
    ask(cycle, 3 * S)
    cycle.elapse(5 * S)
    assert cycle.state is SupplyState.RECONNECTING
    assert cycle.reason == "s/0 has not answered for 4 s"


def test_max_offline_s_none_and_null_both_wait_without_an_end() -> None:
    """Neither value leads to DEAD."""
    for spelled in (None, "none"):
        cycle = opened(new_cycle(safety={"max_offline_s": spelled, "liveness_s": 1e8}))
        cycle.elapse(10**6 * S)
        cycle.elapse(10**7 * S)
        assert cycle.state is not SupplyState.DEAD


def test_an_action_is_as_old_as_the_oldest_input_of_its_request() -> None:
    """A frame older than the state bounds how long the chunk is played."""
    for age_s, played in ((0.0, 3), (0.2, 1)):
        cycle = opened(new_cycle(max_action_age_s=3))
        asked = cycle.ask(S, 10, S + S // 20)
        assert asked is not None
        cycle.asked(S + S // 20)
        key = (asked.asked.seq, 0, 1)
        assert cycle.replied(CHUNK, CHUNK, key, 10, 2 * S, round(age_s * S)) is None
        ages = [4 * S - 150_000_000, 4 * S - 50_000_000, 4 * S]
        assert sum(cycle.buffer.pop(now_ns) is not None for now_ns in ages) == played


def test_a_reset_without_an_acknowledgement_is_a_warning_after_a_second() -> None:
    """An acknowledgement of an earlier episode does not clear it."""
    cycle = opened(new_cycle(), warnings=("camera wrist is not used",))
    cycle.elapse(S)
    cycle.reset()
    cycle.elapse(2 * S - 1)
    assert cycle.warnings == ["camera wrist is not used"]
    cycle.elapse(2 * S)
    assert cycle.warnings[1] == ("s/0 has not acknowledged the reset to episode 1 within 1 s")
    cycle.acknowledged(0)
    assert len(cycle.warnings) == 2, "of an episode before"
    cycle.acknowledged(1)
    assert cycle.warnings == ["camera wrist is not used"]


def test_the_expected_delay_is_the_configured_quantile_of_the_latencies() -> None:
    """The delay is in steps, rounded up."""
    steps = {}
    for quantile in (0.5, 0.95, 1.0):
        cycle = opened(new_cycle(plan_settings={"latency_quantile": quantile}))
        cycle.latency.record(0)  # the first after a connect is not counted
        for ms in range(100, 1000, 100):
            cycle.latency.record(ms * 1_000_000)
        asked = cycle.ask(S, 10, S)
        assert asked is not None
        steps[quantile] = asked.delay_steps
    assert steps == {0.5: 5, 0.95: 9, 1.0: 9}


@pytest.mark.parametrize(("horizon", "sent"), [(None, 4), (2, 2), (9, 4)])
def test_a_request_carries_no_more_of_the_plan_than_the_horizon(
    horizon: int | None, sent: int
) -> None:
    """Nor than the policy uses; in both spaces."""
    cycle = streaming(plan_settings={"rtc": {"execution_horizon": horizon}, "buffer_time_s": 5})
    asked = cycle.ask(2 * S, 11, 2 * S)
    assert asked is not None and asked.prefix is not None and asked.prefix_robot is not None
    assert len(asked.prefix) == len(asked.prefix_robot) == sent


@pytest.mark.parametrize("merge", ["replace", "blend"])
def test_a_policy_that_continues_no_plan_has_its_chunks_trimmed_and_put_in_its_place(
    merge: str,
) -> None:
    """Not appended: the plan ends with the newest chunk, less what was played meanwhile."""
    cycle = opened(new_cycle(plan_settings={"merge": merge, "buffer_time_s": 5}), prefix="none")
    ask(cycle, S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, S) is None
    asked = ask(cycle, 2 * S)
    assert asked.prefix is None
    for _ in range(3):
        cycle.buffer.pop(2 * S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 13, 2 * S) is None
    assert len(cycle.buffer) == len(CHUNK) - 3


def test_a_seed_is_used_by_one_request_of_one_robot() -> None:
    """Seeds of robots and requests differ, and each fits in 63 bits."""
    seeds = set()
    for name in ("r1", "r2"):
        cycle = opened(new_cycle(robot=name))
        for _ in range(3):
            asked = cycle.ask(S, 10, S + 10 * S)
            asked = asked or cycle.ask(11 * S, 10, 11 * S)
            assert asked is not None
            seeds.add(asked.seed)
            cycle.buffer.settle(Drop.TIMEOUT)
    assert len(seeds) == 6 and all(0 <= seed < 2**63 for seed in seeds)


def test_a_full_plan_is_never_late_and_a_dry_one_stalls() -> None:
    """No chunk is due while the plan is full."""
    cycle = streaming()
    cycle.elapse(2 * S)
    cycle.elapse(50 * S)
    states = [cycle.state]
    while cycle.buffer.pop(50 * S) is not None:
        pass
    cycle.elapse(50 * S)
    assert [*states, cycle.state] == [SupplyState.STREAMING, SupplyState.STALLED]


def test_a_short_plan_is_late_after_degraded_after_s() -> None:
    """DEGRADED at the bound, not before."""
    cycle = streaming()
    for _ in range(8):
        cycle.buffer.pop(2 * S)
    cycle.elapse(2 * S)
    states = []
    for now_ns in (3 * S - 1, 3 * S):
        cycle.elapse(now_ns)
        states.append(cycle.state)
    assert states == [SupplyState.STREAMING, SupplyState.DEGRADED]


def test_a_dead_robot_s_reason_has_the_bound_and_the_last_known_cause() -> None:
    """`max_offline_s` alone does not explain what failed."""
    cycle = streaming(safety={"max_offline_s": 20.0})
    cycle.session.lost("replica s/0 hung", 1, 2 * S)
    while cycle.buffer.pop(2 * S) is not None:
        pass
    cycle.elapse(2 * S)
    cycle.elapse(60 * S)
    assert cycle.state is SupplyState.DEAD
    reason = "no chunk came for 20 s (max_offline_s); the last that was known: replica s/0 hung"
    assert cycle.reason == reason


def test_the_latency_of_a_request_excludes_a_pause() -> None:
    """From its sending to its answer otherwise."""
    cycle = opened(new_cycle())
    taken: list[int] = []
    cycle.latency.record = taken.append  # type: ignore[method-assign,assignment]
    ask(cycle, 10 * S)
    cycle.pause(11 * S)
    cycle.resume(20 * S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, 21 * S) is None
    assert taken == [2 * S]


def test_a_chunk_is_trimmed_by_the_clock_where_trim_is_time() -> None:
    """By the policy steps since its observation."""
    cycle = opened(new_cycle(plan_settings={"trim": "time"}))
    ask(cycle, S, step=10)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 13, S) is None
    assert len(cycle.buffer) == 7


def test_a_gap_of_the_driver_is_counted_and_nothing_is_requested_in_it() -> None:
    """The reason is the driver's until it is found again."""
    cycle = streaming()
    for gaps in (1, 2, 3):
        cycle.driver_lost("its cable is out")
        assert cycle._words[Word.DRIVER_GAPS] == gaps
        assert cycle.ask(gaps * S, 10, gaps * S) is None
        assert cycle.reason == "its cable is out"
        cycle.driver_found()
        assert "cable" not in cycle.reason
        ask(cycle, gaps * S)


def test_a_prefix_is_the_rest_of_the_plan_in_model_and_robot_space() -> None:
    """Only where the policy takes one and chunks replace the plan."""
    for merge, prefix, length in (
        ("replace", "guided", 4),
        ("replace", "none", 0),
        ("append", "guided", 0),
    ):
        cycle = opened(new_cycle(plan_settings={"merge": merge}), prefix=prefix)
        ask(cycle, S)
        model = np.arange(20, dtype=np.float32).reshape(10, 2)
        assert cycle.replied(model, -model, key(cycle), 10, S) is None
        for _ in range(6):
            cycle.buffer.pop(S)
        asked = ask(cycle, S)
        if length:
            np.testing.assert_array_equal(asked.prefix, model[6:])
            np.testing.assert_array_equal(asked.prefix_robot, -model[6:])
        else:
            assert asked.prefix is None and asked.prefix_robot is None


def test_requests_are_counted_over_all_incarnations_and_each_has_the_next_seed() -> None:
    """The count lies in the plan's memory."""
    memory = bytearray(PLAN_BYTES)
    seeds = []
    for sent in (1, 2, 3):
        cycle = opened(new_cycle(memory), now_ns=sent * 10 * S)
        seeds.append(ask(cycle, sent * 10 * S).seed)
        assert cycle._words[Word.REQUESTS] == sent
    assert seeds == [seeds[0], seeds[0] + 1, seeds[0] + 2]


def test_a_request_may_be_made_from_a_state_of_exactly_max_state_age_s() -> None:
    """An older one is the reason why there is none."""
    cycle = opened(new_cycle(safety={"max_state_age_s": 0.5}))
    assert cycle.ask(S, 10, S + 500 * MS + 1) is None
    too_old = "the robot's state is more than 0.5 s old (max_state_age_s)"
    assert cycle.reason == f"{too_old}: no request is made from it"
    assert cycle.ask(S, 10, S + 500 * MS) is not None

"""Handshakes, requests and answers, case by case; the interleavings are in tests/properties."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.actors.control.plan import Drop
from holdfast.actors.control.plan_memory import PLAN_BYTES
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.actors.control.supply_state import SupplyState
from holdfast.tests.actors.control.request_cycles import MS, TERMS, S, ask, new_cycle, opened
from holdfast.transport.messages import Reject


def chunk(length: int = 10) -> NDArray[np.float32]:
    return np.zeros((length, 2), np.float32)


def test_a_policy_that_cannot_continue_a_plan_replaces_it_unless_appending_was_asked_for() -> None:
    for merge in ("replace", "append", "blend"):
        cycle = opened(new_cycle(plan_settings={"merge": merge}), prefix="none")
        assert cycle.rule.mode == merge
        asked = cycle.ask(S, 10, S)
        assert asked is not None and asked.prefix is None


def test_a_prefix_capability_that_is_lost_across_a_reconnection_is_the_end() -> None:
    cycle = opened(new_cycle())
    cycle.session.lost("gone", 1, 2 * S)
    opened(cycle, now_ns=3 * S, prefix="trained")
    assert cycle.failsafe.session_open, "guided or trained: both continue a plan"
    cycle.session.lost("gone", 2, 4 * S)
    opened(cycle, now_ns=10 * S, prefix="none")
    assert cycle.state is SupplyState.DEAD
    assert "continues_a_plan True became False" in cycle.reason


def test_a_service_of_other_motors_is_refused_with_both_orders_named() -> None:
    cycle = opened(new_cycle(), action_names=("b",))
    assert cycle.state is SupplyState.DEAD and not cycle.session.enabled
    assert "actions are b; this robot's are a, b" in cycle.reason


def test_a_chunk_that_the_plan_could_never_hold_is_refused_at_the_handshake() -> None:
    cycle = opened(new_cycle(), chunk_size=100_000)
    assert cycle.state is SupplyState.DEAD
    assert "100000 steps" in cycle.reason


def test_an_answer_that_is_later_than_the_next_try_still_opens_the_session() -> None:
    cycle = new_cycle()
    cycle.session.opening(1, S)
    assert cycle.session.open_epoch(4 * S) is None, "given up, and waiting"
    cycle.session.accepted(TERMS, 1, 4 * S)
    assert cycle.failsafe.session_open


def test_a_final_rejection_is_for_good_and_another_is_not() -> None:
    cycle = new_cycle()
    cycle.session.opening(1, S)
    cycle.session.rejected(Reject(reason="capacity", message="full", retry_after_s=3.0), 1, S)
    assert cycle.state is SupplyState.CONNECTING
    assert cycle.session.open_epoch(4 * S - 1) is None and cycle.session.open_epoch(4 * S) == 2
    cycle.session.opening(2, 4 * S)
    cycle.session.rejected(Reject(reason="fps", message="train it anew", final=True), 2, 4 * S)
    assert (cycle.state, cycle.reason) == (SupplyState.DEAD, "fps: train it anew")


def test_requests_are_made_when_less_than_the_buffer_time_is_left() -> None:
    cycle = opened(new_cycle())
    asked = cycle.ask(S, 10, S)
    assert asked is not None and asked.prefix is None and asked.episode_start
    cycle.asked(S)
    key = (asked.asked.seq, asked.asked.episode, asked.asked.epoch)
    assert cycle.replied(chunk(), chunk(), key, 11, S) is None
    assert cycle.state is SupplyState.STREAMING
    played = 0
    while (asked := cycle.ask(S, 11, S)) is None:
        assert cycle.buffer.pop(S) is not None
        played += 1
    assert played == 6, "0.4 s of 1 s are less than 0.5 s"
    assert asked.prefix is not None and asked.prefix.shape == (4, 2)
    assert asked.slack_s == 0.4 and not asked.episode_start


def test_a_state_that_is_too_old_is_not_asked_from() -> None:
    """The world has died: a chunk for what it last said would be about a robot that moved on."""
    cycle = opened(new_cycle())
    assert cycle.ask(S, 10, S + 600_000_000) is None


def fails(cycle: RequestCycle, now_ns: int, **how: Any) -> None:
    """Make a request, and answer it with an error."""
    asked = cycle.ask(now_ns, 10, now_ns)
    assert asked is not None
    cycle.asked(now_ns)
    cycle.failed("policy: it said no", (asked.asked.seq, 0, 1), now_ns, **how)


def pause_ms(cycle: RequestCycle, now_ns: int) -> int:
    """How long the robot waits before its next request."""
    for ms in range(0, 60_000, 10):
        if cycle.ask(now_ns + ms * MS, 10, now_ns + ms * MS) is not None:
            cycle.buffer.settle(Drop.TIMEOUT)
            return ms
    raise AssertionError("it never asks again")


def test_errors_slow_a_robot_down_until_one_of_its_requests_succeeds() -> None:
    cycle, now, pauses = opened(new_cycle()), S, []
    for _ in range(8):
        fails(cycle, now)
        pauses.append(pause_ms(cycle, now))
        now += 10 * S
    assert pauses == [100, 200, 400, 800, 1600, 3200, 5000, 5000]
    assert cycle.why.request == "policy: it said no"
    asked = cycle.ask(now, 10, now)
    assert asked is not None
    cycle.replied(chunk(1), chunk(1), (asked.asked.seq, 0, 1), 10, now)
    assert cycle.reason == ""
    fails(cycle, now)
    assert pause_ms(cycle, now) == 100


def test_what_the_robot_s_own_network_actor_refuses_is_asked_for_again_soon() -> None:
    """A camera's old frame costs nobody else: the robot looks again in a tenth of a second."""
    cycle, now = opened(new_cycle()), S
    for _ in range(5):
        fails(cycle, now, near=True)
        assert pause_ms(cycle, now) == 100
        now += 10 * S
    assert cycle.buffer.dropped == {"error": 5, "timeout": 5}


def test_a_handshake_that_gets_nowhere_says_why_and_the_reason_goes_with_it() -> None:
    cycle = new_cycle()
    cycle.elapse(S)
    assert cycle.reason == "the handshake with service 's' is not answered"
    cycle.session.unopened()
    assert cycle.reason == "the network actor does not answer at e"
    cycle.session.opening(1, S)
    cycle.session.lost("the broker at tcp://gpu:8801 does not answer", 1, S + 1)
    cycle.elapse(13 * S)
    told = "the broker at tcp://gpu:8801 does not answer (no session for 12 s)"
    assert cycle.state is SupplyState.CONNECTING and cycle.reason == told
    cycle.session.opening(2, 13 * S)
    assert cycle.session.open_epoch(15 * S) is None
    assert "the broker took the handshake with service 's'" in cycle.reason
    opened(cycle, now_ns=20 * S)
    assert cycle.reason == "a chunk is awaited from s/0"


def test_waiting_for_a_chunk_says_on_what_and_for_how_long() -> None:
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


def test_an_unbounded_wait_is_spelled_as_people_spell_it() -> None:
    for spelled in (None, "none"):
        cycle = opened(new_cycle(safety={"max_offline_s": spelled, "liveness_s": 1e8}))
        cycle.elapse(10**6 * S)
        cycle.elapse(10**7 * S)
        assert cycle.state is not SupplyState.DEAD


def test_an_action_is_as_old_as_the_oldest_of_the_inputs_that_it_was_made_from() -> None:
    """A frame may be older than the robot's state: its age bounds how long the chunk is played."""
    for age_s, played in ((0.0, 3), (0.2, 1)):
        cycle = opened(new_cycle(max_action_age_s=3))
        asked = cycle.ask(S, 10, S + S // 20)
        assert asked is not None
        cycle.asked(S + S // 20)
        key = (asked.asked.seq, 0, 1)
        assert cycle.replied(chunk(), chunk(), key, 10, 2 * S, round(age_s * S)) is None
        ages = [4 * S - 150_000_000, 4 * S - 50_000_000, 4 * S]
        assert sum(cycle.buffer.pop(now) is not None for now in ages) == played


def test_a_reset_that_no_replica_acknowledges_is_warned_of_until_one_does() -> None:
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


def test_the_expected_delay_is_the_quantile_that_was_asked_for() -> None:
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


def test_a_request_that_could_not_be_sent_is_not_awaited() -> None:
    cycle = opened(new_cycle())
    assert cycle.ask(S, 10, S) is not None
    cycle.unsent(S)
    assert cycle.buffer.outstanding is None
    assert cycle.buffer.dropped == {Drop.UNSENT.value: 1}


def test_silence_is_loss_and_a_heartbeat_without_progress_is_silence() -> None:
    cycle = opened(new_cycle(safety={"liveness_s": 1.5}), now_ns=10 * S)
    for now in range(10 * S, 11 * S, S // 10):
        cycle.session.heard(5, 1, now)
        cycle.elapse(now)
        assert cycle.failsafe.session_open
    cycle.session.heard(5, 1, 12 * S)
    cycle.elapse(12 * S)
    assert cycle.state is SupplyState.RECONNECTING
    assert cycle.reason == "the network actor has been silent for 1.5 s"


def test_the_next_incarnation_is_bound_by_what_was_agreed() -> None:
    memory = bytearray(PLAN_BYTES)
    opened(new_cycle(memory))
    heir = new_cycle(memory)
    assert heir.session.enabled and not heir.failsafe.session_open
    opened(heir, revision="2")
    assert heir.state is SupplyState.DEAD
    assert "revision '1' became '2'" in heir.reason
    heir.session.forget()
    assert not new_cycle(memory).session.enabled, "a person starts it again: it is bound by nothing"


def test_seeds_differ_between_requests_and_between_robots() -> None:
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

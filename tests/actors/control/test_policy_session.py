"""Handshakes, the contract, liveness and loss, case by case."""

from __future__ import annotations

import pytest

from holdfast.actors.control.plan_memory import PLAN_BYTES, Word
from holdfast.actors.control.supply_state import SupplyState
from holdfast.tests.actors.control.request_cycles import (
    CHUNK,
    TERMS,
    S,
    ask,
    key,
    new_cycle,
    opened,
)
from holdfast.transport.bodies import Reject


def test_a_service_that_loses_its_prefix_capability_ends_the_robot() -> None:
    """Guided and trained are one capability: both continue a plan."""
    cycle = opened(new_cycle())
    cycle.session.lost("gone", 1, 2 * S)
    opened(cycle, now_ns=3 * S, prefix="trained")
    assert cycle.failsafe.session_open, "guided or trained: both continue a plan"
    cycle.session.lost("gone", 2, 4 * S)
    opened(cycle, now_ns=10 * S, prefix="none")
    assert cycle.state is SupplyState.DEAD
    assert "it no longer continues the plan under way" in cycle.reason


def test_a_service_that_gains_its_prefix_capability_ends_the_robot() -> None:
    """The merge rule would change in mid-task: a person accepts that."""
    cycle = opened(new_cycle(), prefix="none")
    cycle.session.lost("gone", 1, 2 * S)
    opened(cycle, now_ns=3 * S, prefix="guided")
    assert cycle.state is SupplyState.DEAD
    assert "it now continues the plan under way" in cycle.reason


def test_a_service_of_other_joints_is_refused_with_both_orders() -> None:
    """DEAD, and the robot was never enabled."""
    cycle = opened(new_cycle(), action_names=("b",))
    assert cycle.state is SupplyState.DEAD and not cycle.session.enabled
    assert "actions are b; this robot's are a, b" in cycle.reason


def test_a_service_of_chunks_longer_than_the_plan_is_refused() -> None:
    """At the handshake, with its chunk size."""
    cycle = opened(new_cycle(), chunk_size=100_000)
    assert cycle.state is SupplyState.DEAD
    assert "100000 steps" in cycle.reason


def test_a_late_answer_to_a_handshake_still_opens_the_session() -> None:
    """As long as no other handshake went out."""
    cycle = new_cycle()
    cycle.session.opening(1, S)
    assert cycle.session.open_epoch(4 * S) is None, "given up, and waiting"
    cycle.session.accepted(TERMS, 1, 4 * S)
    assert cycle.failsafe.session_open


def test_a_final_rejection_is_for_good_and_another_is_not() -> None:
    """DEAD after a final one; else the next handshake waits for `retry_after_s`."""
    cycle = new_cycle()
    cycle.session.opening(1, S)
    cycle.session.rejected(Reject(reason="capacity", message="full", retry_after_s=3.0), 1, S)
    assert cycle.state is SupplyState.CONNECTING
    assert cycle.session.open_epoch(4 * S - 1) is None and cycle.session.open_epoch(4 * S) == 2
    cycle.session.opening(2, 4 * S)
    cycle.session.rejected(Reject(reason="fps", message="train it anew", final=True), 2, 4 * S)
    assert (cycle.state, cycle.reason) == (SupplyState.DEAD, "fps: train it anew")


def test_an_unanswered_handshake_has_a_reason_until_the_next_one_is_accepted() -> None:
    """Network actor, broker and service are each named where they do not answer."""
    cycle = new_cycle()
    cycle.elapse(S)
    assert cycle.reason == "the handshake with service 's' is not answered"
    cycle.session.unopened()
    assert cycle.reason == "the network actor does not answer at e"
    cycle.session.opening(1, S)
    cycle.session.lost("the broker at tcp://gpu:8801 does not answer", 1, S + 1)
    cycle.elapse(13 * S)
    reason = "the broker at tcp://gpu:8801 does not answer (no session for 12 s)"
    assert cycle.state is SupplyState.CONNECTING and cycle.reason == reason
    cycle.session.opening(2, 13 * S)
    assert cycle.session.open_epoch(15 * S) is None
    assert "the broker took the handshake with service 's'" in cycle.reason
    opened(cycle, now_ns=20 * S)
    assert cycle.reason == "a chunk is awaited from s/0"


def test_a_session_is_lost_after_liveness_s_without_progress() -> None:
    """Repeating the same progress is silence."""
    cycle = opened(new_cycle(safety={"liveness_s": 1.5}), now_ns=10 * S)
    for now_ns in range(10 * S, 11 * S, S // 10):
        cycle.session.heard(5, 1, now_ns)
        cycle.elapse(now_ns)
        assert cycle.failsafe.session_open
    cycle.session.heard(5, 1, 12 * S)
    cycle.elapse(12 * S)
    assert cycle.state is SupplyState.RECONNECTING
    assert cycle.reason == "the network actor has been silent for 1.5 s"


def test_the_next_incarnation_is_bound_by_the_contract() -> None:
    """Until an end in order after DEAD, which a person started again."""
    memory = bytearray(PLAN_BYTES)
    opened(new_cycle(memory))
    restarted = new_cycle(memory)
    assert restarted.session.enabled and not restarted.failsafe.session_open
    opened(restarted, revision="2")
    assert restarted.state is SupplyState.DEAD
    assert "revision '1' became '2'" in restarted.reason
    restarted.session.forget()
    assert not new_cycle(memory).session.enabled, "a person starts it again: it is bound by nothing"


def test_a_session_lasts_for_liveness_s_after_the_last_progress() -> None:
    """It is open at `liveness_s` exactly, and lost one nanosecond later."""
    cycle = opened(new_cycle(safety={"liveness_s": 1.5}))
    for beat in range(1, 4):
        cycle.session.heard(beat, 1, beat * S)
    cycle.elapse(4 * S + S // 2)
    assert cycle.failsafe.session_open
    cycle.elapse(4 * S + S // 2 + 1)
    assert not cycle.failsafe.session_open


def test_an_answer_to_the_outstanding_request_renews_the_session() -> None:
    """An answer with another key does not."""
    cycle = opened(new_cycle(safety={"liveness_s": 1.5}))
    ask(cycle, S)
    cycle.replied(CHUNK, CHUNK, (99, 0, 1), 10, 2 * S)
    assert cycle.buffer.outstanding is not None, "that was another's"
    cycle.replied(CHUNK, CHUNK, key(cycle), 10, 2 * S)
    cycle.elapse(3 * S)
    assert cycle.failsafe.session_open


def test_a_loss_has_the_reason_that_was_reported() -> None:
    """And for how long there has been no session."""
    cycle = opened(new_cycle())
    cycle.session.heard(1, 0, 2 * S)
    assert cycle.reason == "the network actor restarted"
    cycle = opened(new_cycle())
    cycle.session.lost("replica s/0 hung", 1, 2 * S)
    assert cycle.reason == "replica s/0 hung"
    cycle.elapse(5 * S)
    assert cycle.reason == "replica s/0 hung (no session for 3 s)"


def test_the_reason_why_the_broker_is_not_reachable_ends_with_a_session() -> None:
    """`waiting` is ignored while there is one."""
    cycle = new_cycle()
    cycle.session.waiting("the broker is not reachable at tcp://gpu:1")
    assert cycle.reason == "the broker is not reachable at tcp://gpu:1"
    opened(cycle).session.waiting("the broker is not reachable at tcp://gpu:1")
    assert cycle.why.session == ""


def test_an_available_service_gets_a_handshake_at_once() -> None:
    """Whatever `retry_after_s` the rejection had."""
    cycle = new_cycle()
    cycle.session.opening(1, S)
    cycle.session.rejected(Reject(reason="capacity", message="full", retry_after_s=30.0), 1, S)
    assert cycle.session.open_epoch(5 * S) is None
    cycle.session.available(5 * S)
    assert cycle.session.open_epoch(5 * S) == 2


def test_the_task_of_a_reset_is_kept_for_the_next_incarnation() -> None:
    """A reset without a task keeps it, and the surroundings may replace it."""
    memory = bytearray(PLAN_BYTES)
    cycle = opened(new_cycle(memory, task="wait"))
    assert cycle.reset("pick it up") == 1
    cycle.reset()
    later = new_cycle(memory, task="wait")
    assert cycle.session.task.sentence == later.session.task.sentence == "pick it up"
    cycle.follow_task("put it down")
    asked = cycle.ask(5 * S, 10, 5 * S) or cycle.ask(6 * S, 10, 6 * S)
    assert asked is not None and asked.task == "put it down"


def test_an_end_in_order_keeps_the_contract_and_clears_the_time_offline() -> None:
    """`forget` of a robot that is not DEAD."""
    memory = bytearray(PLAN_BYTES)
    cycle = opened(new_cycle(memory))
    assert cycle._words[Word.SUPPLIED_NS] == S
    cycle.session.forget()
    assert cycle._words[Word.SUPPLIED_NS] == 0
    assert new_cycle(memory).session.enabled, "what was agreed is still agreed"


@pytest.mark.parametrize("steps", [1, "capacity", 0, "more"])
def test_a_service_of_one_step_up_to_the_plan_s_capacity_is_accepted(steps: int | str) -> None:
    """Outside of that it is refused with both numbers."""
    cycle = new_cycle()
    capacity = cycle.buffer.capacity
    size = {"capacity": capacity, "more": capacity + 1}.get(str(steps), steps)
    opened(cycle, chunk_size=size)
    assert cycle.failsafe.session_open is (steps in (1, "capacity"))
    if not cycle.failsafe.session_open:
        reason = f"the service's chunks have {size} steps; this robot's plan holds 1 to {capacity}"
        assert cycle.reason == f"{reason}: use a policy of shorter chunks"


def test_a_service_of_the_same_joints_in_another_order_is_refused_with_both_orders() -> None:
    """The order of actions is part of the contract."""
    cycle = opened(new_cycle(), action_names=("b", "a"))
    assert cycle.state is SupplyState.DEAD
    reason = "the service's actions are b, a; this robot's are a, b: use a service that was trained"
    assert cycle.reason == f"{reason} for it"


def test_the_bounds_of_the_fail_safe_are_those_of_the_robot_s_settings() -> None:
    """Time-outs and pauses between handshakes follow `safety`."""
    cycle = new_cycle(
        safety={
            "open_timeout_s": 3.0,
            "backoff_s": 1.0,
            "max_backoff_s": 4.0,
            "max_offline_s": 90.0,
        }
    )
    opened(cycle)
    cycle.session.lost("gone", 1, 2 * S)
    now_ns, waits = 2 * S, []
    for _ in range(5):
        began = now_ns
        while (epoch := cycle.session.open_epoch(now_ns)) is None:
            now_ns += S // 10
        waits.append(round((now_ns - began) / S, 1))
        cycle.session.opening(epoch, now_ns)
    assert waits == [1.0, 5.0, 7.0, 7.0, 7.0], "3 s for an answer, and a pause of 2, then 4"


def test_a_task_of_the_configuration_holds_until_another_is_given() -> None:
    """Without a kept task the session has the config's."""
    assert new_cycle(task="wait").session.task.sentence == "wait"

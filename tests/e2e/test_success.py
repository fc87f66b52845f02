"""What all the processes cost the task: success in real time against the policy run in step."""

from __future__ import annotations

import math

import pytest

from holdfast.tests.e2e.conftest import StartFleet, without_a_stall

ATTEMPTS = 30


def at_most(placed: int, tried: int, rate: float) -> float:
    """The probability of so few successes, where each attempt has one with the probability
    `rate`."""
    return sum(math.comb(tried, k) * rate**k * (1 - rate) ** (tried - k) for k in range(placed + 1))


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(1200)
def test_the_fleet_succeeds_within_five_points_of_the_policy_run_in_step(
    start_fleet: StartFleet,
) -> None:
    """As far as 30 attempts tell, at odds of a million to one; no tick is missed, none stalls."""
    pytest.importorskip("torch")
    from holdfast.policy.kinds import load_policy
    from holdfast.tools.training.evaluate import evaluate

    *_, in_step = evaluate(load_policy("flow", "conveyor-flow"), 40)
    fleet = start_fleet()
    plays = without_a_stall(30 * 30)
    fleet.wait_for(plays, within_s=400.0)
    status = fleet.wait_for(
        lambda s: sum(robot["episodes"] for robot in s["robots"]) >= ATTEMPTS, within_s=400.0
    )
    fleet.interrupt()
    assert fleet.wait(60) == 0, fleet.said()
    tried = sum(robot["episodes"] for robot in status["robots"])
    placed = sum(robot["successes"] for robot in status["robots"])
    # Wilson's lower bound, for the chance in what the policy was measured with.
    assert at_most(placed, tried, in_step.interval[0] - 0.05) > 1e-7, (placed, tried, in_step)
    assert [robot["missed_ticks"] for robot in fleet.report()["robots"]] == [0, 0]

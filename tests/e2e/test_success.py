"""What all the processes cost the task: success in real time against the policy run in step."""

from __future__ import annotations

import math

import pytest

from holdfast.tests.e2e.conftest import StartFleet


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_fleet_succeeds_within_five_points_of_the_policy_run_in_step(
    start_fleet: StartFleet,
) -> None:
    """And one standard error of 50 attempts of the default fleet, on the machine's own clock."""
    pytest.importorskip("torch")
    from holdfast.policy.kinds import load_policy
    from holdfast.tools.training.evaluate import evaluate

    *_, in_step = evaluate(load_policy("flow", "conveyor-flow"), 100)
    fleet = start_fleet()
    status = fleet.wait_for(
        lambda s: sum(robot["episodes"] for robot in s["robots"]) >= 50, within_s=400.0
    )
    fleet.interrupt()
    assert fleet.wait(60) == 0, fleet.said()
    tried = sum(robot["episodes"] for robot in status["robots"])
    placed = sum(robot["successes"] for robot in status["robots"])
    error = math.sqrt(in_step.rate * (1 - in_step.rate) / tried)
    assert placed / tried >= in_step.rate - 0.05 - error, (placed, tried, in_step)

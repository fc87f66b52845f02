"""An SO-101 in the hands of a person with a leader arm, both driven by the unmodified LeRobot
library over pseudo-terminals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.tests.chaos.conftest import actor, robot
from holdfast.tests.chaos.test_so101 import MAX_RATE, So101Fleet
from holdfast.tests.chaos.wave import FPS, NAMES
from holdfast.tests.feetech.so101 import POSE, So101
from holdfast.tests.feetech.sts3215 import GOAL
from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[tuple[So101Fleet, So101]]:
    """A fleet of one arm without a service, and the leader arm of its teleoperator."""
    python = str(interpreter_of("lerobot-0.6"))
    with So101(tmp_path / "dev", "ttyACM0") as arm, So101(tmp_path / "dev", "ttyACM1") as leader:
        arm.calibration(tmp_path / "calibration", "left")
        leader.calibration(tmp_path / "calibration", "lead")

        def device(kind: str, id: str, port: Path) -> dict[str, Any]:
            options = {"type": kind, "id": id, "port": str(port), "use_degrees": True}
            return {
                "driver": "lerobot",
                "python": python,
                "options": {**options, "calibration_dir": str(tmp_path / "calibration")},
            }

        values = {
            "name": "hands",
            "robots": [
                {
                    "name": "arm",
                    **device("so101_follower", "left", arm.port),
                    "teleop": device("so101_leader", "lead", leader.port),
                    "limits": {name: {"max_rate": MAX_RATE} for name in NAMES},
                    "fps": FPS,
                }
            ],
            "gateway": {"enabled": False},
        }
        (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(values))
        there = {"PYTHONPATH": str(importable(tmp_path / "importable"))}
        fleet = So101Fleet(tmp_path / "fleet.yaml", tmp_path, environment=there)
        fleet.name, fleet.arm = "hands", arm
        try:
            yield fleet, leader
        finally:
            fleet.end()


def test_the_follower_goes_where_the_hand_moves_the_leader_and_rests_when_its_bus_is_silent(
    hands: tuple[So101Fleet, So101],
) -> None:
    """No step exceeds the joints' rate: at the take-over, in motion, and after the silence."""
    fleet, leader = hands
    leader.hand(shoulder_pan=POSE[0] + 400, elbow_flex=POSE[2] - 300)
    fleet.wait_for(
        lambda s: (
            s
            and robot(s, "arm")["state"] == "PAUSED"
            and (actor(s, "arm/teleop")["report"] or {}).get("readings", 0) > 10
        ),
        90.0,
    )
    assert fleet.actorctl("take-over", "arm").returncode == 0

    def follows(steps: int) -> None:
        goals = {goal.motor: goal.value for goal in fleet.arm.written(GOAL)[-6:]}
        wait_until(
            lambda: abs(fleet.arm.written(GOAL)[-6:][0].value - (POSE[0] + steps)) <= 3,
            f"the follower's shoulder_pan goes to {POSE[0] + steps}; its goals are {goals}",
        )

    follows(400)
    leader.hand(shoulder_pan=POSE[0] - 500)
    follows(-500)
    leader.silent = True
    fleet.wait_for(lambda s: robot(s, "arm")["state"] == "MANUAL" and _silent(s), 60)
    quiet_ns = time.monotonic_ns()
    leader.hand(shoulder_pan=POSE[0] + 100)
    fleet.wait_for(lambda s: time.monotonic_ns() - quiet_ns > 1_000_000_000, 60)
    assert fleet.goals(quiet_ns) == []
    leader.silent = False
    follows(100)
    assert fleet.jumps() == []
    assert fleet.arm.torques == (1,) * 6 and leader.torques == (0,) * 6


def _silent(status: dict[str, Any]) -> bool:
    return "silent" in robot(status, "arm")["reason"]

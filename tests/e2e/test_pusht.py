"""Environments as robots: the example of two PushT environments and a planner of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.peers.environments import importable, interpreter_of

from .conftest import StartFleet, row

EXAMPLES = Path(__file__).parents[2] / "examples"


def both_tried(status: dict[str, Any]) -> bool:
    """Whether each robot has ended an episode."""
    return all(each.get("episodes") for each in status["robots"])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_pusht_environments_are_driven_and_their_episodes_counted(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """Both robots play a planner's chunks, and an ended episode of each is counted."""
    python = interpreter_of("pusht")
    folder = tmp_path / "example"
    folder.mkdir()
    shutil.copy(EXAMPLES / "pusht_planner.py", folder)
    text = (EXAMPLES / "pusht.yaml").read_text()
    for line in ("    policy: pusht_planner:PushPlanner", "    driver: gym"):
        assert line in text
        text = text.replace(line, f"    python: {python}\n{line}")
    path = folder / "pusht.yaml"
    path.write_text(text)
    fleet = start_fleet(fleet=path, environment={"PYTHONPATH": str(importable(tmp_path / "path"))})
    fleet.streaming(60)
    # An episode has at most 300 steps, at 10 per second of streaming.
    status = fleet.wait_for(both_tried, 120)
    for name in ("t1", "t2"):
        robot = row(status["robots"], name)
        driver = row(status["actors"], f"{name}/driver")["report"]
        assert driver["errors"] == {}, driver
        assert robot["missed_ticks"] == 0, robot
        assert driver["tried"] >= 1, driver
    fleet.interrupt()
    assert fleet.wait(20) == 0, fleet.said()

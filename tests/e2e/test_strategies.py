"""Strategies in a running fleet: demonstrations by hand, a highlight, and a recorder that dies."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row

FILE = """
name: strategies
robots:
  - name: demo
    teleop: {{driver: expert}}
    options: {{seed: 1}}
    strategy: {{type: teleop, episodes: 3, reset_time_s: 0.5}}
    record: {{root: {demo}}}
    cameras: {{overhead: {{width: 64, height: 48, fps: 30}}}}
  - name: watch
    teleop: {{driver: expert}}
    options: {{seed: 2}}
    strategy: {{type: highlight, before_s: 2.0, after_s: 0.5}}
    record: {{root: {watch}}}
    cameras: {{overhead: {{width: 64, height: 48, fps: 30}}}}
gateway: {{enabled: false}}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_demonstrations_are_counted_over_a_kill_and_a_highlight_begins_before_its_mark(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """Episodes end as the cell says; a killed recorder loses the one in progress alone."""
    file, demo, watch = tmp_path / "f.yaml", tmp_path / "demo", tmp_path / "watch"
    file.write_text(FILE.format(demo=demo, watch=watch))
    fleet: FleetProcess = start_fleet(fleet=file)

    def recorder(status: dict[str, Any], robot: str) -> dict[str, Any]:
        found = status and row(status["actors"], f"{robot}/recorder")
        return (found and found["report"]) or {"strategy": "", "saved": 0, "held_s": 0.0}

    fleet.wait_for(lambda s: recorder(s, "demo")["strategy"], 60.0)
    assert fleet.actorctl("episode", "wait", "--timeout", "1").returncode == 1
    kept = re.compile(r"\([1-9] of 3 kept\)")
    fleet.wait_for(lambda s: kept.search(recorder(s, "demo")["strategy"]), 120.0)
    assert fleet.actorctl("take-over", "watch").returncode == 0
    killed = fleet.actor("demo/recorder")
    os.kill(killed["pid"], signal.SIGKILL)
    held = fleet.wait_for(lambda s: recorder(s, "watch")["held_s"] >= 1.9, 60)
    assert held
    assert fleet.actorctl("episode", "save", "watch").returncode == 0
    endless = fleet.actorctl("episode", "wait", "watch")
    assert endless.returncode == 2 and "has no last episode" in endless.stderr
    done = fleet.wait_for(
        lambda s: (
            "all episodes (3 of 3 kept)" in recorder(s, "demo")["strategy"]
            and recorder(s, "watch")["saved"] == 1
        ),
        180.0,
    )
    assert row(done["actors"], "demo/recorder")["incarnation"] > 1
    assert fleet.actorctl("episode", "wait", "demo").returncode == 0
    refused = fleet.actorctl("episode", "start", "demo")
    assert refused.returncode == 2 and "has recorded all episodes" in refused.stderr
    fleet.interrupt()
    assert fleet.wait(60) == 0, fleet.said()

    demos = Dataset(demo)
    assert len(demos) == 3
    assert all(entry.extra["success"] for entry in demos.episodes)
    # From the beginning of the cell's own on: the expert does none of them within a second.
    assert all(entry.length > 30 and all(entry.tasks) for entry in demos.episodes)
    (mark,) = Dataset(watch).episodes
    # Two seconds before, and half a second after, at 30 steps each; a busy machine misses some.
    assert mark.length > 40

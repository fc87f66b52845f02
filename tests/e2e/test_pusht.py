"""Environments as robots: PushT's planner demonstrates, a policy is trained on it and plays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.tests.peers.environments import importable, interpreter_of

from .conftest import StartFleet, row

EXAMPLE = Path(__file__).parents[2] / "examples" / "pusht"


def edited(path: Path, **lines: str) -> Path:
    """The fleet file, with each of the `lines`, which has to be there, replaced."""
    text = path.read_text()
    for line, other in lines.items():
        assert line in text
        text = text.replace(line, other)
    path.write_text(text)
    return path


def all_recorded(status: dict[str, Any]) -> bool:
    """Whether both robots' episodes are on the disk."""
    return all(
        actor["report"] and actor["report"]["done"]
        for actor in status["actors"]
        if actor["kind"] == "recorder"
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_pusht_is_demonstrated_by_a_planner_recorded_learned_and_played(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """The example from its first command to its last, with one episode of each environment."""
    pytest.importorskip("torch")
    python = interpreter_of("pusht")
    folder = tmp_path / "pusht"
    shutil.copytree(EXAMPLE, folder)
    here = {"PYTHONPATH": str(importable(tmp_path / "path"))}
    driver = {"    driver: gym\n": f"    driver: gym\n    python: {python}\n"}
    file = edited(folder / "demonstrate.yaml", **driver, **{"episodes: 100": "episodes: 1"})
    fleet = start_fleet(fleet=file, environment=here)
    # An episode has at most 300 steps, at 10 per second of streaming.
    status = fleet.wait_for(all_recorded, 300)
    for name in ("t1", "t2"):
        report = row(status["actors"], f"{name}/driver")["report"]
        assert report["errors"] == {} and report["tried"] >= 1, report
    fleet.interrupt()
    assert fleet.wait(60) == 0, fleet.said()
    assert len(Dataset(folder / "data" / "pusht")) == 2
    words = ["flow", "--dataset", "data/pusht", "--out", "runs/pusht", "steps=2", "batch=4"]
    command = [sys.executable, "-P", "-m", "holdfast.tools.training", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file = edited(folder / "play.yaml", **driver)
    fleet = start_fleet(fleet=file, environment=here)
    fleet.streaming()
    fleet.interrupt()
    assert fleet.wait(60) == 0, fleet.said()

"""Training on a dataset that the LeRobot library wrote itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from holdfast.policy.checkpoint import read_config, read_stats
from holdfast.policy.kinds import load_policy
from holdfast.tests.peers.environments import ROOT, interpreter_of
from holdfast.tests.tools.training.small_trainings import SMALL_KEYS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = ROOT / "tests" / "peers" / "lerobot_dataset_program.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset `small`, three episodes of two tasks with a video, and
    `expected.npz`, what the library was given."""
    folder = tmp_path_factory.mktemp("theirs")
    arguments = ["make", str(folder / "small"), str(folder / "expected.npz")]
    python = str(interpreter_of("lerobot-0.6"))
    subprocess.run([python, str(PROGRAM), *arguments], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(("kind", "statistics"), [("flow", "recomputed"), ("act", "dataset")])
def test_a_dataset_of_the_library_trains_a_policy(
    place: Path, tmp_path: Path, kind: str, statistics: str
) -> None:
    """The loss falls; names, rate, cameras and tasks are the library's, statistics the data's."""
    command = [sys.executable, "-m", "holdfast.tools.training", kind]
    command += ["--dataset", str(place / "small"), "--out", str(tmp_path), *SMALL_KEYS]
    command += ["steps=160", "batch=16", f"statistics={statistics}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 160 and rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    config, expected = read_config(tmp_path), np.load(place / "expected.npz")
    assert config.training["frames"] == expected["lengths"].sum()
    assert {"red", "blue"} < set(config.vocabulary)
    spec = config.spec
    assert (spec.state_names, spec.action_names) == (("x", "y", "yaw"), ("x", "y"))
    assert (spec.fps, [camera.name for camera in spec.cameras]) == (10, ["top"])
    stats = read_stats(tmp_path)
    for found, key in ((stats.state, "states"), (stats.action, "actions")):
        np.testing.assert_allclose(found.mean, expected[key].mean(0), atol=1e-4)
        np.testing.assert_allclose(found.std, expected[key].std(0), atol=1e-4)
    policy = load_policy(kind, tmp_path)
    (chunk,) = policy.predict_chunk([policy.spec.example()])
    assert chunk.robot.shape == (8, 2) and np.isfinite(chunk.robot).all()

"""Recorded episodes through running services: what is deployed otherwise than trained is named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast import Fleet
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.recording_schema import RecordingSchema, Row

BIN = Path(sys.executable).parent
JOINTS = ("base", "elbow", "gripper")
FLEET = """
name: parity
services:
  right: {policy: "lab:Trained"}
  swapped: {policy: "lab:Trained", options: {names: [elbow, base, gripper]}}
  bgr: {policy: "lab:Trained", options: {channels: bgr}}
  padded: {policy: "lab:Trained", options: {fit: pad}}
gateway: {enabled: false}
supervision: {spares: 0, policy_spare: false}
"""
LAB = """
import numpy as np

from holdfast import CameraFeature, Chunk, PolicySpec


class Trained:
    def __init__(self, names=("base", "elbow", "gripper"), channels="rgb", fit="stretch"):
        self.spec = PolicySpec(
            model="trained", revision="1", cameras=(CameraFeature("front", 32, 32),),
            state_names=names, action_names=names, chunk_size=8, fps=30.0,
        )
        self.channels, self.fit = channels, fit

    def predict_chunk(self, batch):
        return [self.chunk(each) for each in batch]

    def chunk(self, seen):
        image = seen.images["front"][..., ::-1 if self.channels == "bgr" else 1].astype(float)
        if self.fit == "pad":  # where the picture is, in one of 64 by 32 that was padded
            image = image[8:24]
        red = image[..., 0].mean() / 255
        first, second, third = seen.state
        actions = np.array([first + red, 2 * second, third - red], np.float32)
        path = np.tile(actions, (8, 1))
        return Chunk(model=path, robot=path)
"""


def record(root: Path) -> None:
    """Six episodes whose actions are those that `Trained` is to predict; nothing moves in them."""
    schema = RecordingSchema(30, JOINTS, JOINTS, {"front": (32, 64)})
    writer = DatasetWriter(root, "r1", schema)
    for number in range(6):
        random = np.random.default_rng(number)
        state = random.normal(size=3).astype(np.float32)
        image = np.zeros((32, 64, 3), np.uint8)
        image[:] = random.integers(0, 256, 3)
        image[8:24] = random.integers(0, 256, 3)
        red = image[..., 0].mean() / 255
        action = np.array([state[0] + red, 2 * state[1], state[2] - red], np.float32)
        recording = writer.begin()
        for frame in range(10):
            recording.add(
                Row(
                    state=state,
                    action=action,
                    task="reach",
                    session=1,
                    seq=frame,
                    step=0,
                    latency_s=0.05,
                    intervention=False,
                    images={"front": (image, 10**9 * number + frame)},
                )
            )
        writer.commit(recording, success=True)
    writer.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running fleet beside a dataset."""
    folder = tmp_path_factory.mktemp("parity")
    (folder / "lab.py").write_text(LAB)
    (folder / "fleet.yaml").write_text(FLEET)
    record(folder / "set")
    with Fleet(folder / "fleet.yaml") as fleet:
        fleet.wait(60.0)
        yield folder


def verified(folder: Path, service: str, *words: str) -> tuple[int, str]:
    """Exit status and output of `actorctl policy verify`."""
    verify = [str(BIN / "actorctl"), "policy", "verify"]
    command = [*verify, service, "--dataset", str(folder / "set"), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout


def report(folder: Path, service: str, *words: str) -> dict[str, Any]:
    """The same as JSON, of one that is not right."""
    status, said = verified(folder, service, "--json", *words)
    told: dict[str, Any] = json.loads(said)
    assert (status, told["ok"]) == (1, False)
    return told


def beyond(told: dict[str, Any]) -> dict[str, str]:
    return {each["subject"]: each["words"] for each in told["findings"] if each["beyond"]}


def test_a_policy_that_is_deployed_as_trained_has_no_errors(folder: Path) -> None:
    """Exit status 0; what is left is the video's loss."""
    status, said = verified(folder, "right", "--json", "--samples", "3")
    told = json.loads(said)
    assert (status, told["ok"], told["samples"]) == (0, True, 15)
    assert [joint["name"] for joint in told["joints"]] == list(JOINTS)
    assert all(
        group["max"] < 0.02 for joint in told["joints"] for group in joint["steps"] if group["n"]
    )
    assert told["cameras"] == [{"name": "front", "pixels": 0.0}]
    status, said = verified(folder, "right", "--jpeg-quality", "90")
    assert status == 0
    assert "deployed as trained" in said


def test_joints_whose_names_are_in_another_order_are_named(folder: Path) -> None:
    """The third joint is right; the order of the dataset's names explains the others."""
    found = beyond(report(folder, "swapped"))
    assert set(found) == {"joint base", "joint elbow", "joints elbow, base"}
    words = found["joints elbow, base"]
    assert "the dataset's order (base, elbow, gripper)" in words
    assert "names them in another (elbow, base, gripper)" in words


@pytest.mark.slow
def test_a_policy_that_was_trained_on_bgr_is_named_with_its_camera(folder: Path) -> None:
    """By trying: its errors vanish with red and blue exchanged."""
    found = beyond(report(folder, "bgr"))
    assert "red and blue exchanged (BGR)" in found["camera front"]
    assert "of 255 on average" in found["camera front"]
    assert "joint elbow" not in found


@pytest.mark.slow
def test_another_resize_than_in_training_is_named_with_its_camera(folder: Path) -> None:
    """By trying, and by the pixels where the training's way is given."""
    found = beyond(report(folder, "padded"))
    assert "scaled to fit and padded with black" in found["camera front"]
    told = report(folder, "padded", "--training-resize", "pad")
    assert told["cameras"][0]["pixels"] > 20
    assert any("its pixels differ by" in each["words"] for each in told["findings"])


@pytest.mark.slow
def test_tolerances_decide_the_exit_status(folder: Path) -> None:
    """A policy that is wrong is within wide ones."""
    status, said = verified(folder, "bgr", "--joint-tolerance", "5")
    assert status == 0
    assert "deployed as trained" in said


@pytest.mark.slow
def test_what_cannot_be_compared_is_a_sentence(folder: Path) -> None:
    """No such service, no dataset, no such way: exit status 2."""
    for words, expected in (
        (["rigth", "--dataset", "set"], "did you mean 'right'?"),
        (["right", "--dataset", "sets"], "expected a LeRobotDataset v3.0"),
        (["right", "--dataset", "set", "--training-resize", "padd"], "did you mean 'pad'?"),
        (["right", "--dataset", "set", "--rename", "front=back"], "no camera front"),
    ):
        command = [str(BIN / "actorctl"), "policy", "verify", *words]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=240, cwd=folder
        )
        assert done.returncode == 2, done.stdout
        assert expected in done.stderr

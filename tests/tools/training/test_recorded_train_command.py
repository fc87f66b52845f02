"""`holdfast-train` on a dataset: train, `--check` and `stats`; and the whole way of a policy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from holdfast.policy.checkpoint import read_config
from holdfast.policy.kinds import load_policy
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.recording_schema import RecordingSchema, Row
from holdfast.robot.sim import CONTROL_HZ, SPEC
from holdfast.robot.sim.cell import ConveyorCell
from holdfast.robot.sim.draw import draw
from holdfast.robot.sim.expert import Expert
from holdfast.tests.robot.dataset.recordings import dataset
from holdfast.tests.tools.training.small_trainings import SMALL_KEYS
from holdfast.tests.tools.training.train_commands import invoked
from holdfast.tools.training import dataset_statistics, train
from holdfast.tools.training.presets import CONFIGS
from holdfast.transport.images import resize


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "pick"
    dataset(folder, lengths=(12, 9))
    return folder


def test_the_command_trains_on_a_dataset_and_says_how_to_do_it_again(
    root: Path, tmp_path: Path
) -> None:
    """The folder has a checkpoint, its command, and one line of metrics each 20 steps."""
    out = tmp_path / "run"
    done = invoked(
        train.main, "flow", "--dataset", str(root), "--out", str(out), *SMALL_KEYS, "steps=40"
    )
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40]
    assert set(rows[0]) == {"step", "loss", "gradient_norm", "rate", "seconds"}
    config = read_config(out)
    assert config.training["command"].startswith("holdfast-train --config flow --dataset pick ")
    assert (config.training["at"], config.training["dataset"]) == (40, "pick")
    policy = load_policy("flow", out)
    (chunk,) = policy.predict_chunk([policy.spec.example()])
    assert policy.spec.action_names == ("x", "y") and chunk.robot.shape == (8, 2)


@pytest.mark.parametrize("name", ["flow", "act"])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_check_takes_fake_data_the_whole_way(root: Path, name: str, recorded: bool) -> None:
    """It needs no --out, says what was done, and reads no picture of the dataset."""
    given = ["--dataset", str(root)] if recorded else []
    done = invoked(train.main, name, "--check", *given, *SMALL_KEYS)
    assert done.exit_code == 0, done.output
    assert "saved, loaded and served" in " ".join(done.output.split())
    assert not (root / "data" / "images").exists()


def test_a_check_finds_a_config_that_cannot_work() -> None:
    """Heads that do not divide the width: status 1, before any data is read."""
    done = invoked(train.main, "flow", "--check", *SMALL_KEYS, "network.heads=3")
    assert done.exit_code == 1, done.output


def test_a_command_without_a_dataset_or_folder_is_refused(tmp_path: Path) -> None:
    """The status is 2 and the message names the option that is missing."""
    for arguments, missing in (
        (["flow", "--out", str(tmp_path)], "--dataset"),
        (["flow"], "--out"),
    ):
        done = invoked(train.main, *arguments)
        assert done.exit_code == 2 and missing in done.output, done.output


def test_a_config_of_a_module_of_ones_own_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--import` finds the module in the current folder; one that is not there is refused."""
    (tmp_path / "my_own_configs.py").write_text(
        "from holdfast.tools.training.presets import CONFIGS, register_config\n"
        "register_config('mine', CONFIGS['act'])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    try:
        done = invoked(train.main, "mine", "--import", "my_own_configs", "--check", *SMALL_KEYS)
        assert done.exit_code == 0, done.output
    finally:
        CONFIGS.pop("mine", None)
        sys.modules.pop("my_own_configs", None)
    refused = invoked(train.main, "mine", "--import", "no_such_configs", "--check")
    assert refused.exit_code == 2 and "no_such_configs" in refused.output


def test_the_statistics_of_a_dataset_are_those_of_its_frames(root: Path) -> None:
    """Mean and deviation equal numpy's within 1e-5, and quantiles lie between the extremes."""
    done = invoked(dataset_statistics.main, str(root), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    episodes = list(Dataset(root))
    for key, values in (
        ("state", np.concatenate([e.states for e in episodes])),
        ("action", np.concatenate([e.actions for e in episodes])),
    ):
        exact = values.astype(np.float64)
        np.testing.assert_allclose(found[key]["mean"], exact.mean(0), atol=1e-5)
        np.testing.assert_allclose(found[key]["std"], exact.std(0), rtol=1e-4, atol=1e-5)
        assert (np.array(found[key]["q01"]) <= np.median(exact, 0)).all()
        assert (np.array(found[key]["q99"]) >= np.median(exact, 0)).all()
    table = invoked(dataset_statistics.main, str(root)).stdout
    assert "yaw" in table and "2 episodes, 21 frames at 30 per second" in table


def test_a_folder_that_is_no_dataset_has_no_statistics(tmp_path: Path) -> None:
    """The status is 1 and the message says what is expected."""
    done = invoked(dataset_statistics.main, str(tmp_path))
    assert done.exit_code == 1 and "expected a LeRobotDataset" in " ".join(done.output.split())


def record_expert(root: Path, episodes: int, seed: int = 5) -> None:
    """Demonstrations of the expert in the simulator's cell, small pictures of both cameras."""
    size = {"overhead": (48, 64), "wrist": (48, 64)}
    schema = RecordingSchema(CONTROL_HZ, SPEC.state_names, SPEC.action_names, size, "sim")
    writer, cell, expert = DatasetWriter(root, "cell", schema), ConveyorCell(seed), Expert()
    for _ in range(episodes):
        recording, episode = writer.begin(), cell.episode
        while cell.episode == episode:
            scene, frame = cell.scene(), len(recording)
            pictures: dict[str, tuple[NDArray[np.uint8], int] | None] = {
                name: (resize(draw(name, scene, frame=frame), 64, 48), frame) for name in size
            }
            action = expert.act(cell)
            recording.add(Row(cell.state(), action, cell.task, images=pictures))
            cell.step_control(action)
        writer.commit(recording, success=True)
    writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow", "act"])
def test_what_was_recorded_in_the_simulator_trains_a_policy_of_its_robot(
    name: str, tmp_path: Path
) -> None:
    """The loss halves, and the checkpoint gives chunks within the expert's actions, by name."""
    record_expert(tmp_path / "demos", 3)
    out = tmp_path / "run"
    small = ["network.width=32", "network.layers=1", "network.camera_width=8", "network.places=8"]
    small += ["image_width=64", "image_height=48", "batch=16", "steps=200", "chunk_size=24"]
    done = invoked(
        train.main, name, "--dataset", str(tmp_path / "demos"), "--out", str(out), *small
    )
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    policy = load_policy(name, out)
    spec = policy.spec
    assert (spec.state_names, spec.action_names) == (SPEC.state_names, SPEC.action_names)
    assert [camera.name for camera in spec.cameras] == ["overhead", "wrist"]
    (chunk,) = policy.predict_chunk([spec.example()])
    recorded = np.concatenate([episode.actions for episode in Dataset(tmp_path / "demos")])
    assert chunk.robot.shape == (24, 5)
    assert (chunk.robot >= recorded.min(0) - 1e-5).all()
    assert (chunk.robot <= recorded.max(0) + 1e-5).all()

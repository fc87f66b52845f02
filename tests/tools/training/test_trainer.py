"""Training and its demonstrations, on a tiny network and few of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from holdfast.policy.base import CameraFeature
from holdfast.policy.checkpoint import read_spec
from holdfast.policy.kinds import load_policy
from holdfast.robot.sim.cell import ConveyorCell
from holdfast.robot.sim.expert import Expert
from holdfast.tests.tools.training.small_trainings import check_resumption
from holdfast.tools.training.batches import Batches, pictures
from holdfast.tools.training.dataset import (
    FIRST_SEED,
    LABEL_EVERY,
    DatasetConfig,
    Demonstrations,
    demonstrate,
    generate,
    load,
)
from holdfast.tools.training.presets import CONFIGS
from holdfast.tools.training.ranks import Ranks
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_config import TrainingConfig

torch.set_num_threads(1)

CAMERAS = (CameraFeature("overhead", 32, 24),)
DATASET = DatasetConfig(
    cameras=CAMERAS, chunk_size=48, max_prefix_steps=12, observe_every=12, episodes_per_seed=1
)


def tiny(name: str, **changes: Any) -> TrainingConfig:
    """A named config, shrunk."""
    config = CONFIGS[name]
    assert isinstance(config, TrainingConfig)
    spec = msgspec.structs.replace(config.spec, cameras=CAMERAS)
    network = {"width": 16, "layers": 1, "heads": 2, "patch": 12, "camera_width": 8, "places": 4}
    values = {
        "spec": spec,
        "network": network,
        "dataset": DATASET,
        "batch": 16,
        "warmup_steps": 5,
        "rate": 5e-3,
    }
    return msgspec.structs.replace(config, **values, shards=3, steps=60, **changes)


def trainer_of(data: Demonstrations, seed: int) -> Trainer:
    """A flow training at its beginning."""
    config = tiny("conveyor-flow")
    return Trainer(config, Batches(config, data, seed))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards, made by two forked workers."""
    directory = tmp_path_factory.mktemp("data")
    assert list(generate(directory, DATASET, 3, workers=2)) == [0, 1, 2, 3]
    return directory


@pytest.fixture(scope="module")
def data(shards: Path) -> Demonstrations:
    return load(shards)


@pytest.mark.parametrize("name", ["conveyor-flow", "conveyor-act"])
def test_a_training_reduces_the_loss_and_saves_a_policy(
    data: Demonstrations, tmp_path: Path, name: str
) -> None:
    """Sixty steps reduce the loss, and the saved checkpoint predicts chunks."""
    trainer = Trainer(tiny(name), Batches(tiny(name), data, 0))
    losses = [trainer.advance()["loss"] for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    digest = trainer.save(tmp_path)
    policy = load_policy(CONFIGS[name].kind, tmp_path)
    assert policy.checkpoint_hash == digest
    (chunk,) = policy.predict_chunk([policy.spec.example()])
    assert chunk.robot.shape == (48, 5) and np.isfinite(chunk.robot).all()
    assert read_spec(tmp_path).max_prefix_steps == tiny(name).spec.max_prefix_steps


def test_a_resumed_run_equals_the_uninterrupted_one(data: Demonstrations, tmp_path: Path) -> None:
    """Weights, average and checkpoint are the same, bit for bit."""
    check_resumption(lambda: trainer_of(data, seed=3), tmp_path / "progress.pt")


def test_the_progress_of_a_run_with_another_seed_is_refused(
    data: Demonstrations, tmp_path: Path
) -> None:
    """The error has both seeds."""
    trainer_of(data, seed=1).save_progress(tmp_path / "progress.pt")
    with pytest.raises(ValueError, match="seed was 1, is now 2"):
        trainer_of(data, seed=2).load_progress(tmp_path / "progress.pt")


def test_an_epoch_has_each_observation_once(data: Demonstrations) -> None:
    """In an order of its own, also when batches do not divide it."""
    batches, seen = Batches(tiny("conveyor-flow"), data, seed=0), []
    for step in range(2 * len(data) // 16 + 1):
        seen += list(batches.rows(step))
    assert sorted(seen[: len(data)]) == list(range(len(data)))
    assert sorted(seen[len(data) : 2 * len(data)]) == list(range(len(data)))
    assert seen[: len(data)] != seen[len(data) : 2 * len(data)]


def test_the_same_seed_gives_the_same_demonstrations(shards: Path) -> None:
    """Byte for byte, in a worker process or in this one."""
    again = demonstrate(DATASET, FIRST_SEED)
    for name, array in again.items():
        assert np.array_equal(np.load(shards / "shard-00000" / f"{name}.npy"), array), name


def test_the_labels_of_an_observation_share_the_executed_actions(data: Demonstrations) -> None:
    """The first `delay` steps of a label are the same in all labels of longer delays."""
    compared = 0
    for i in range(len(data)):
        for d in range(1, data.chunks.shape[1]):
            delay = d * LABEL_EVERY
            if data.counts[i, d] > 0:
                for later in range(d + 1, data.chunks.shape[1]):
                    if data.counts[i, later] > 0:
                        same = data.chunks[i, later, :delay]
                        np.testing.assert_array_equal(data.chunks[i, d, :delay], same)
                        compared += 1
    assert compared >= len(data) // 2, f"{compared} pairs of labels among {len(data)} observations"


def test_the_label_of_an_observation_is_the_experts_chunk_from_there() -> None:
    """The label without delay of a cell's first observation is the expert's chunk."""
    config = msgspec.structs.replace(DATASET, observe_every=LABEL_EVERY)
    shard = demonstrate(config, 5)
    cell = ConveyorCell(5)
    np.testing.assert_array_equal(shard["state"][0], cell.state())
    np.testing.assert_array_equal(shard["chunks"][0, 0], Expert().chunk(cell, 48))


def test_demonstrations_of_another_config_are_refused(shards: Path) -> None:
    """The error says that the folder has those of another config."""
    other = msgspec.structs.replace(DATASET, observe_every=6)
    with pytest.raises(ValueError, match="another config"):
        next(generate(shards, other, 3, workers=1))


def test_brightening_changes_each_image_differently() -> None:
    """Shape and dtype stay, and all pixels of a uniform image change equally."""
    images = np.full((6, 4, 4, 3), 128, np.uint8)
    (bright,) = pictures({"front": images}, np.arange(6), 0.3, np.random.default_rng(0), Ranks())
    assert bright.shape == images.shape and bright.dtype == np.uint8
    assert len({int(image[0, 0, 0]) for image in bright}) > 1
    assert all((image == image[0, 0, 0]).all() for image in bright)

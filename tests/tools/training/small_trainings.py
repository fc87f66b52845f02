"""Trainings on recorded episodes that take no time, for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from holdfast.tools.training.episode_windows import fake_windows
from holdfast.tools.training.recorded_batches import RecordedBatches
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_check import fake_spec
from holdfast.tools.training.training_config import RecordedConfig

torch.set_num_threads(1)

NETWORK = {"width": 16, "layers": 1, "heads": 2, "patch": 4, "camera_width": 8, "places": 4}
SMALL_KEYS = [f"network.{key}={value}" for key, value in NETWORK.items()] + [
    "steps=20",
    "batch=4",
    "chunk_size=8",
    "max_prefix_steps=4",
    "image_width=16",
    "image_height=16",
    "warmup_steps=2",
]
"""The same as `small`, on the command line."""


def small(kind: Literal["flow", "act"] = "flow", **changes: Any) -> RecordedConfig:
    """A config with a network of some thousand weights."""
    config = RecordedConfig(
        kind=kind,
        network=NETWORK,
        steps=20,
        batch=4,
        chunk_size=8,
        max_prefix_steps=4,
        image_width=16,
        image_height=16,
        warmup_steps=2,
    )
    return msgspec.structs.replace(config, **changes)


def fake_training(config: RecordedConfig, seed: int = 0, data_seed: int = 0) -> Trainer:
    """A training on two episodes of random values, at its beginning."""
    spec = fake_spec(config)
    return Trainer(config, RecordedBatches(config, spec, fake_windows(spec, data_seed), seed))


def saved_base(folder: Path, config: RecordedConfig, seed: int) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint without training, which is in `folder` afterwards."""
    trainer = fake_training(config, seed)
    trainer.save(folder)
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def check_resumption(begin: Callable[[], Trainer], progress: Path) -> None:
    """Eight steps of a training of `begin`, and three with five after a resumption from the file
    `progress`, give the same weights, averages and checkpoint, bit for bit."""
    whole, first = begin(), begin()
    for _ in range(8):
        whole.advance()
    for _ in range(3):
        first.advance()
    first.save_progress(progress)
    second = begin()
    second.load_progress(progress)
    for _ in range(5):
        second.advance()
    for expected, found in (
        (whole.network.state_dict(), second.network.state_dict()),
        (whole.average, second.average),
    ):
        assert expected.keys() == found.keys()
        for name, weight in expected.items():
            assert torch.equal(weight, found[name]), name
    folders = progress.with_name("whole"), progress.with_name("resumed")
    assert whole.save(folders[0]) == second.save(folders[1])

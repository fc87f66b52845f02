"""A small π0.5 learns the conveyor's expert on the CPU, and serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.tests.tools.training.test_recorded_train_command import record_expert
from holdfast.tools.training.pi_batches import PiBatches
from holdfast.tools.training.pi_config import sized
from holdfast.tools.training.pi_presets import PI_CONFIGS
from holdfast.tools.training.recording import Recording
from holdfast.tools.training.trained_policy import trained_policy
from holdfast.tools.training.trainer import Trainer

torch.set_num_threads(1)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EPISODES, HELD_OUT, BATCHES = 6, 4, 25
NETWORK: dict[str, Any] = {
    "vision": {"width": 32, "layers": 1, "heads": 2, "mlp": 64, "pixels": 64, "patch": 16},
    "language": {"width": 48, "layers": 2, "heads": 4, "head": 12, "mlp": 96},
    "expert": {"width": 48, "layers": 2, "heads": 4, "head": 12, "mlp": 96},
    "words": 264,
    "actions": 5,
    "states": 7,
    "prompt_tokens": 160,
}
CONFIG = {
    "network": NETWORK,
    "chunk_size": 12,
    "max_prefix_steps": 4,
    "batch": 16,
    "looks": 4,
    "steps": 120,
    "rate": 2e-3,
    "warmup_steps": 20,
    "ema": 0.98,
}


def losses(trainer: Trainer, others: PiBatches) -> NDArray[Any]:
    """The loss of each batch of `others`."""
    with torch.no_grad():
        return np.array([float(trainer.loss(others.draw(n))[0]) for n in range(BATCHES)])


def certain(gain: NDArray[Any]) -> bool:
    """Whether the mean is positive by four standard errors."""
    return bool(gain.mean() > 4 * gain.std(ddof=1) / np.sqrt(len(gain)))


def test_a_small_pi05_learns_what_the_expert_does(tmp_path: Path) -> None:
    """On unseen episodes its loss is lower than untrained, by four standard errors."""
    record_expert(tmp_path / "seen", EPISODES)
    record_expert(tmp_path / "others", HELD_OUT, seed=6)
    config = sized(msgspec.structs.replace(PI_CONFIGS["pi05_small"], **CONFIG))
    parts = []
    for name in ("seen", "others"):
        recorded = Dataset(tmp_path / name)
        recording = Recording.of(recorded, config)
        parts.append(recording.windows(tmp_path / "cache"))
    seen, unseen = parts
    trainer = Trainer(config, PiBatches(config, recording.spec, seen))
    others = PiBatches(config, recording.spec, unseen, stats=trainer.batches.stats)
    before = losses(trainer, others)
    for _ in range(config.steps):
        trainer.advance()
    after = losses(trainer, others)
    assert certain(before - after) and after.mean() < 0.7 * before.mean()
    trainer.save(tmp_path / "run")
    policy = trained_policy("pi05", tmp_path / "run")
    (chunk,) = policy.predict_chunk([policy.spec.example(task=unseen.tasks[0])])
    assert (chunk.robot <= seen.action.max(0) + 1e-5).all()
    assert (chunk.robot >= seen.action.min(0) - 1e-5).all()

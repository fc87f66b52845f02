"""A small π0.5 learns the conveyor's expert on the CPU, and serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from holdfast.policy.base import ChunkPolicy, Observation
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.tests.tools.training.test_recorded_train_command import record_expert
from holdfast.tools.training.episode_windows import EpisodeWindows
from holdfast.tools.training.pi_batches import PiBatches
from holdfast.tools.training.pi_config import PiConfig, sized
from holdfast.tools.training.pi_presets import PI_CONFIGS
from holdfast.tools.training.pi_recordings import pi_spec_of, pi_windows
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_check import served

torch.set_num_threads(1)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EPISODES, HELD_OUT = 8, 6
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
    "steps": 300,
    "rate": 2e-3,
    "warmup_steps": 20,
    "ema": 0.98,
}


def windows(root: Path, cache: Path, config: PiConfig) -> tuple[PiConfig, Any, EpisodeWindows]:
    dataset = Dataset(root)
    spec, theirs = pi_spec_of(dataset, config)
    return config, spec, pi_windows(dataset, spec, theirs, cache)


def expected(data: EpisodeWindows, row: int, steps: int) -> NDArray[np.float32]:
    chunk, _ = data.chunks(np.array([row]), steps)
    whole: NDArray[np.float32] = chunk[0]
    return whole


def errors(
    policy: ChunkPolicy,
    data: EpisodeWindows,
    rows: NDArray[np.int64],
    shown: NDArray[np.int64] | None = None,
) -> NDArray[Any]:
    """The mean distance of chunks from what the expert did at `rows`, in units of the actions'
    deviations, where the frames `shown` are seen, by default the same."""
    observations = [
        Observation(
            state=data.state[row],
            images={name: images[row] for name, images in data.images.items()},
            task=data.tasks[data.task[row]],
            seed=int(row),
        )
        for row in (rows if shown is None else shown)
    ]
    chunks = np.stack([c.robot for c in policy.predict_chunk(observations)])
    aims = np.stack([expected(data, int(row), chunks.shape[1]) for row in rows])
    deviation = data.action.std(0) + 1e-3
    mean: NDArray[Any] = (np.abs(chunks - aims) / deviation).mean((1, 2))
    return mean


def test_a_small_pi05_learns_what_the_expert_does(tmp_path: Path) -> None:
    """On unseen episodes its chunks are nearer to the expert's, by four standard errors."""
    # Than those of the untrained network, and than those for the observation of another frame.
    record_expert(tmp_path / "seen", EPISODES)
    record_expert(tmp_path / "others", HELD_OUT, seed=6)
    config = sized(msgspec.structs.replace(PI_CONFIGS["pi05_small"], **CONFIG))
    _, spec, data = windows(tmp_path / "seen", tmp_path / "cache", config)
    _, _, others = windows(tmp_path / "others", tmp_path / "cache", config)
    trainer = Trainer(config, PiBatches(config, spec, data))
    trainer.save(tmp_path / "untrained")
    losses = [trainer.advance()["loss"] for _ in range(config.steps)]
    assert np.mean(losses[-50:]) < 0.5 * np.mean(losses[:5])
    trainer.save(tmp_path / "run")
    before, after = (served("pi05", str(tmp_path / name), "cpu") for name in ("untrained", "run"))
    rows = np.linspace(0, len(others) - 1, 150).astype(np.int64)
    learned = errors(after, others, rows)
    other = np.random.default_rng(0).permutation(rows)
    for worse in (errors(before, others, rows), errors(after, others, rows, other)):
        gain = worse - learned
        assert gain.mean() > 4 * gain.std(ddof=1) / np.sqrt(len(gain)), (
            worse.mean(),
            learned.mean(),
            gain.std(),
        )

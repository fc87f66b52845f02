"""A training on fake data: `check` from the window to the served chunk, `check_beginning` before
real data is read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import numpy as np
import torch

from ...errors import PolicyError
from ...policy.base import CameraFeature, PolicySpec
from ...policy.kinds import load_policy
from .episode_windows import fake_windows
from .recorded_batches import RecordedBatches
from .trainer import CPU, Trainer
from .training_config import RecordedConfig


def fake_spec(config: RecordedConfig) -> PolicySpec:
    """The spec of a robot with six joints, for a check without a dataset."""
    joints = tuple(f"joint_{number}" for number in range(1, 7))
    names = tuple(dict.fromkeys((*joints, *config.relative_actions)))
    prefixed = config.kind == "flow" and config.max_prefix_steps > 0
    return PolicySpec(
        model="check",
        revision="1",
        cameras=tuple(
            CameraFeature(name, width=config.image_width, height=config.image_height)
            for name in config.cameras or ("front",)
        ),
        state_names=names,
        action_names=names,
        chunk_size=config.chunk_size,
        fps=30,
        prefix="trained" if prefixed else "none",
        max_prefix_steps=min(config.max_prefix_steps, config.chunk_size - 1) if prefixed else 0,
    )


def check(config: RecordedConfig, spec: PolicySpec, seed: int, device: torch.device = CPU) -> float:
    """Take a step on at most two fake samples, save, load as a service does, predict a chunk;
    return the loss. Raises PolicyError or ValueError for what does not work."""
    config = msgspec.structs.replace(config, batch=min(config.batch, 2))
    batches = RecordedBatches(config, spec, fake_windows(spec, seed), seed)
    trainer = Trainer(config, batches, device)
    loss = trainer.advance()["loss"]
    if not np.isfinite(loss):
        raise PolicyError(f"the loss of the fake batch is {loss}, expected a finite number")
    with tempfile.TemporaryDirectory() as folder:
        trainer.save(Path(folder))
        policy = load_policy(config.kind, folder, str(device))
        (chunk,) = policy.predict_chunk([policy.spec.example()])
    expected = (spec.chunk_size, len(spec.action_names))
    if chunk.robot.shape != expected or not np.isfinite(chunk.robot).all():
        raise PolicyError(f"the chunk is {chunk.robot.shape}, expected finite {expected}")
    return loss


def check_beginning(config: RecordedConfig, spec: PolicySpec, tasks: tuple[str, ...]) -> None:
    """Begin the training on episodes of `tasks`, without their frames. Raises PolicyError or
    ValueError for a network, base weights, adapters or frozen weights that do not fit."""
    Trainer(config, RecordedBatches(config, spec, fake_windows(spec, tasks=tasks)))

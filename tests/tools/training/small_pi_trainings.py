"""Trainings of π0 and π0.5 that take no time, for tests."""

from __future__ import annotations

from typing import Any

import msgspec
import torch

from holdfast.policy.pi0.architecture import FlowFamily
from holdfast.policy.pi0.pi_policy import Pi0Policy, Pi05Policy, PiPolicy
from holdfast.tools.training.episode_windows import fake_windows
from holdfast.tools.training.pi_batches import PiBatches
from holdfast.tools.training.pi_config import PiConfig, sized
from holdfast.tools.training.pi_presets import PI_CONFIGS
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_check import fake_spec

torch.set_num_threads(1)

KINDS: dict[str, type[PiPolicy]] = {"pi0": Pi0Policy, "pi05": Pi05Policy}
NETWORK: dict[str, Any] = {
    "vision": {"width": 16, "layers": 1, "heads": 2, "mlp": 16, "pixels": 16, "patch": 8},
    "language": {"width": 16, "layers": 2, "heads": 2, "head": 8, "mlp": 24},
    "expert": {"width": 16, "layers": 2, "heads": 2, "head": 8, "mlp": 24},
    "words": 264,
    "actions": 8,
    "states": 8,
    "prompt_tokens": 160,
}


def tiny(kind: FlowFamily = "pi05", **changes: Any) -> PiConfig:
    """A config with a network of some thousand weights."""
    values: dict[str, Any] = {
        "network": NETWORK,
        "steps": 20,
        "batch": 4,
        "chunk_size": 8,
        "max_prefix_steps": 3,
        "warmup_steps": 2,
        "looks": 2,
        "rate": 5e-3,
    }
    return msgspec.structs.replace(PI_CONFIGS[f"{kind}_small"], **values | changes)


def pi_training(config: PiConfig, seed: int = 0) -> Trainer:
    """A training on two episodes of random values, at its beginning."""
    config = sized(config)
    spec = fake_spec(config)
    return Trainer(config, PiBatches(config, spec, fake_windows(spec), seed))


def pi_batches(trainer: Trainer) -> PiBatches:
    """The batches of such a training."""
    assert isinstance(trainer.batches, PiBatches)
    return trainer.batches

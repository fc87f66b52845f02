"""A flow policy small enough to make in milliseconds, with random weights that do something."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.checkpoint import Config, NormStats, save
from holdfast.policy.flow import FlowPolicy
from holdfast.policy.kinds import untrained_network
from holdfast.policy.normalize import Stats
from holdfast.policy.tokens import Vocabulary

# One thread: the networks are tiny, and a second one only waits for the machine's other work.
torch.set_num_threads(1)

SPEC = PolicySpec(
    model="tiny",
    revision="7",
    cameras=(CameraFeature("front", 32, 24), CameraFeature("wrist", 16, 16)),
    state_names=("x", "y", "grip"),
    action_names=("x", "y"),
    chunk_size=12,
    fps=30.0,
    prefix="trained",
    max_prefix_steps=6,
)
CONFIG = Config(
    kind="flow",
    spec=SPEC,
    network={
        "width": 16,
        "layers": 2,
        "heads": 2,
        "patch": 3,
        "camera_width": 8,
        "places": 4,
        "auxiliary": 3,
        "euler_steps": 4,
    },
    vocabulary=Vocabulary.of(["put the red parcel in the left bin"]).words,
)


def random_weights(config: Config, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights of `config`'s network, all of them random: fresh networks start from zero gates,
    which would hide that an input is ignored."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (0.3 * torch.randn(p.shape, generator=generator)).numpy()
        for name, p in untrained_network(config).named_parameters()
    }


def random_stats(seed: int) -> NormStats:
    """Statistics of some made-up data of SPEC's sizes."""
    rng = np.random.default_rng(seed)
    return NormStats(
        state=Stats.of(rng.normal(0.3, 2.0, (50, len(SPEC.state_names)))),
        action=Stats.of(rng.normal(-1.0, 0.5, (50, len(SPEC.action_names)))),
    )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A whole checkpoint on disk."""
    directory = tmp_path / "tiny"
    save(directory, CONFIG, random_stats(0), random_weights(CONFIG, 0))
    return directory


@pytest.fixture
def act_checkpoint(tmp_path: Path) -> Path:
    """The same robot's, for the ACT policy."""
    config = msgspec.structs.replace(
        CONFIG,
        kind="act",
        spec=msgspec.structs.replace(SPEC, prefix="none", max_prefix_steps=0),
        network={k: v for k, v in CONFIG.network.items() if k != "euler_steps"},
    )
    directory = tmp_path / "act"
    save(directory, config, random_stats(0), random_weights(config, 0))
    return directory


@pytest.fixture
def policy(checkpoint: Path) -> FlowPolicy:
    return FlowPolicy(checkpoint)

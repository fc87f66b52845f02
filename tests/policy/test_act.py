"""The ACT-style policy, with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from holdfast.policy.base import ChunkPolicy
from holdfast.policy.checkpoint import read_config, read_stats, save
from holdfast.policy.registry import load_policy, untrained_network


@pytest.fixture
def act(checkpoint: Path) -> ChunkPolicy:
    """The tiny robot's ACT policy."""
    config = read_config(checkpoint)
    network = {k: v for k, v in config.network.items() if k != "euler_steps"}
    spec = msgspec.structs.replace(config.spec, prefix="none", max_prefix_steps=0)
    config = msgspec.structs.replace(config, kind="act", spec=spec, network=network)
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0, 0.3, tuple(p.shape)).astype(np.float32)
        for name, p in untrained_network(config).named_parameters()
    }
    directory = checkpoint.with_name("act")
    save(directory, config, read_stats(checkpoint), weights)
    return load_policy("act", directory)


def test_samples_of_a_batch_never_mix_and_repeat_bit_for_bit(act: ChunkPolicy) -> None:
    """The same promises as the flow policy's."""
    batch = [act.spec.example(s) for s in range(4)]
    for observation, chunk in zip(batch, act.predict_chunk(batch), strict=True):
        (alone,), (again,) = act.predict_chunk([observation]), act.predict_chunk([observation])
        assert alone.model.tobytes() == again.model.tobytes()
        np.testing.assert_allclose(chunk.robot, alone.robot, rtol=1e-3, atol=1e-4)


def test_it_has_no_noise_and_no_prefix(act: ChunkPolicy) -> None:
    """Seed and plan change nothing; what it sees does."""
    observation = act.spec.example(1)
    prefix = np.ones((4, 2), np.float32)
    (chunk,) = act.predict_chunk([observation])
    (same,) = act.predict_chunk([replace(observation, seed=9, prefix=prefix, delay_steps=3)])
    assert chunk.model.tobytes() == same.model.tobytes()
    (other,) = act.predict_chunk([replace(observation, images=act.spec.example(2).images)])
    assert np.abs(other.model - chunk.model).max() > 1e-4

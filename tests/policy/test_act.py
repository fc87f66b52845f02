"""The ACT-style policy, with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from holdfast.policy.base import ChunkPolicy
from holdfast.policy.kinds import load_policy


@pytest.fixture
def act(act_checkpoint: Path) -> ChunkPolicy:
    """The tiny robot's ACT policy."""
    return load_policy("act", act_checkpoint)


def test_samples_of_a_batch_do_not_mix_in_an_act_policy(act: ChunkPolicy) -> None:
    """A sample alone repeats bit for bit, and in a batch within float tolerance."""
    batch = [act.spec.example(s) for s in range(4)]
    for observation, chunk in zip(batch, act.predict_chunk(batch), strict=True):
        (alone,), (again,) = act.predict_chunk([observation]), act.predict_chunk([observation])
        assert alone.model.tobytes() == again.model.tobytes()
        np.testing.assert_allclose(chunk.robot, alone.robot, rtol=1e-3, atol=1e-4)


def test_an_act_policy_has_no_noise_and_no_prefix(act: ChunkPolicy) -> None:
    """Seed, prefix and delay change nothing, and an image does."""
    observation = act.spec.example(1)
    prefix = np.ones((4, 2), np.float32)
    (chunk,) = act.predict_chunk([observation])
    (same,) = act.predict_chunk([replace(observation, seed=9, prefix=prefix, delay_steps=3)])
    assert chunk.model.tobytes() == same.model.tobytes()
    (other,) = act.predict_chunk([replace(observation, images=act.spec.example(2).images)])
    assert np.abs(other.model - chunk.model).max() > 1e-4

"""Policies without a network."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from holdfast.policy.checkpoint import read_spec
from holdfast.policy.kinds import load_policy
from holdfast.policy.synthetic import write_spec


def test_a_constant_policy_holds_the_robots_position(checkpoint: Path) -> None:
    """Actions of a state's name repeat that state."""
    policy = load_policy("constant", checkpoint)
    observation = policy.spec.example(2)
    (chunk,) = policy.predict_chunk([observation])
    np.testing.assert_array_equal(chunk.robot, np.tile(observation.state[:2], (12, 1)))


def test_a_spec_alone_is_a_checkpoint_of_a_synthetic_policy(
    checkpoint: Path, tmp_path: Path
) -> None:
    """Its directory is made; the policy has the spec that was written."""
    spec = read_spec(checkpoint)
    write_spec(tmp_path / "lab" / "hold", spec)
    for policy in ("constant", "shape-only"):
        assert load_policy(policy, tmp_path / "lab" / "hold").spec == spec


def test_a_simulated_inference_takes_its_configured_duration(checkpoint: Path) -> None:
    """Once per batch and not per sample."""
    policy = load_policy("constant", checkpoint, delay_s=0.5)
    began_s = time.monotonic()
    policy.predict_chunk([policy.spec.example(s) for s in range(20)])
    assert 0.5 <= time.monotonic() - began_s < 10, "twenty of them take ten seconds"


def test_shape_only_chunks_differ_by_seed_and_keep_the_prefix(checkpoint: Path) -> None:
    """The same request gives the same chunk, and the certain steps are the prefix's."""
    policy = load_policy("shape-only", checkpoint)
    one, two = policy.spec.example(1), policy.spec.example(2)
    (first,), (again,), (other,) = (policy.predict_chunk([o]) for o in (one, one, two))
    assert first.model.tobytes() == again.model.tobytes() != other.model.tobytes()
    assert one.prefix is not None
    np.testing.assert_array_equal(first.model[: one.delay_steps], one.prefix[: one.delay_steps])
    free = policy.predict_chunk([replace(one, prefix=None)])[0]
    np.testing.assert_array_equal(free.model[one.delay_steps :], first.model[one.delay_steps :])


def test_the_hash_of_a_synthetic_policy_depends_on_its_predictions(checkpoint: Path) -> None:
    """Another value is another hash, and another simulated duration is not."""
    plain = load_policy("constant", checkpoint).checkpoint_hash
    assert load_policy("constant", checkpoint, value=1.0).checkpoint_hash != plain
    assert load_policy("shape-only", checkpoint).checkpoint_hash != plain
    assert load_policy("constant", checkpoint, delay_s=1.0).checkpoint_hash == plain

"""The flow-matching policy, with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from holdfast.policy.base import Chunk, Observation
from holdfast.policy.flow import FlowPolicy


def assert_close(chunk: Chunk, other: Chunk) -> None:
    """Equal within the rounding of another order of sums."""
    np.testing.assert_allclose(chunk.model, other.model, rtol=1e-3, atol=1e-4)


def test_the_same_observation_gives_the_same_bytes(checkpoint: Path, policy: FlowPolicy) -> None:
    """Repeated, after other observations, and by another instance."""
    observation = policy.spec.example(3)
    (first,) = policy.predict_chunk([observation])
    policy.predict_chunk([policy.spec.example(4), policy.spec.example(5)])
    (again,) = policy.predict_chunk([observation])
    (other,) = FlowPolicy(checkpoint).predict_chunk([observation])
    assert first.model.tobytes() == again.model.tobytes() == other.model.tobytes()
    assert first.robot.tobytes() == again.robot.tobytes() == other.robot.tobytes()


def test_chunks_have_the_shape_and_dtype_of_the_spec(policy: FlowPolicy) -> None:
    """Both spaces are float32 and finite."""
    for chunk in policy.predict_chunk([policy.spec.example(s) for s in range(3)]):
        for form in (chunk.model, chunk.robot):
            assert form.shape == (12, 2) and form.dtype == np.float32 and np.isfinite(form).all()


def test_samples_of_a_batch_do_not_mix_in_a_flow_policy(policy: FlowPolicy) -> None:
    """A chunk is the same alone, in a batch and in another batch."""
    batch = [policy.spec.example(s) for s in range(5)]
    batch[1] = replace(batch[1], prefix=None, delay_steps=0)
    together = policy.predict_chunk(batch)
    for alone, chunk in zip(batch, together, strict=True):
        assert_close(chunk, policy.predict_chunk([alone])[0])
    company = [batch[2], replace(policy.spec.example(99), state=batch[0].state * 1e3)]
    assert_close(policy.predict_chunk(company)[0], together[2])


def _otherwise(observation: Observation, other: Observation) -> dict[str, Observation]:
    front, wrist = observation.images["front"], other.images["wrist"]
    return {
        "state": replace(observation, state=other.state),
        "one image": replace(observation, images={"front": front, "wrist": wrist}),
        "task": replace(observation, task="the left bin"),
        "seed": replace(observation, seed=other.seed),
        "prefix": replace(observation, prefix=other.prefix),
        "delay": replace(observation, delay_steps=observation.delay_steps + 1),
    }


@pytest.mark.parametrize("feature", ["state", "one image", "task", "seed", "prefix", "delay"])
def test_every_field_of_an_observation_changes_the_chunk(policy: FlowPolicy, feature: str) -> None:
    """No input is ignored."""
    observation = policy.spec.example(1)
    changed = _otherwise(observation, policy.spec.example(2))[feature]
    before, after = policy.predict_chunk([observation])[0], policy.predict_chunk([changed])[0]
    assert np.abs(before.model - after.model).max() > 1e-4


def test_no_more_of_a_prefix_is_certain_than_its_robots_horizon(policy: FlowPolicy) -> None:
    """A trained policy returns the prefix up to the horizon, and its own actions after it."""
    observation = replace(policy.spec.example(1), delay_steps=5, execution_horizon=2)
    assert observation.prefix is not None
    (chunk,) = policy.predict_chunk([observation])
    assert chunk.model[:2].tobytes() == observation.prefix[:2].tobytes()
    assert not np.allclose(chunk.model[2:5], observation.prefix[2:5], atol=1e-3)


@pytest.mark.parametrize("delay", [0, 1, 5, 6, 40])
def test_the_certain_part_of_a_prefix_is_returned_exactly(policy: FlowPolicy, delay: int) -> None:
    """Bit for bit up to max_prefix_steps, and the steps after it differ."""
    observation = replace(policy.spec.example(1), delay_steps=delay)
    assert observation.prefix is not None
    (chunk,) = policy.predict_chunk([observation])
    sure = min(delay, policy.spec.max_prefix_steps)
    assert chunk.model[:sure].tobytes() == observation.prefix[:sure].tobytes()
    assert not np.isclose(chunk.model[sure:], 0).all()
    own = chunk.model[sure : len(observation.prefix)]
    assert own.size == 0 or not np.allclose(own, observation.prefix[sure:], atol=1e-3)


def test_the_uncertain_part_of_a_prefix_has_no_effect(policy: FlowPolicy) -> None:
    """Trained conditioning uses only the steps before the chunk's arrival."""
    observation = replace(policy.spec.example(1), delay_steps=2)
    assert observation.prefix is not None
    changed = observation.prefix.copy()
    changed[2:] += 1
    (before,) = policy.predict_chunk([observation])
    (after,) = policy.predict_chunk([replace(observation, prefix=changed)])
    assert before.model.tobytes() == after.model.tobytes()


def test_a_bad_observation_is_refused_and_the_next_one_served(policy: FlowPolicy) -> None:
    """The refused call leaves no state."""
    good = policy.spec.example(1)
    (before,) = policy.predict_chunk([good])
    with pytest.raises(ValueError, match="'wrist' is missing"):
        policy.predict_chunk([good, replace(good, images={"front": good.images["front"]})])
    (after,) = policy.predict_chunk([good])
    assert before.model.tobytes() == after.model.tobytes()


@pytest.mark.parametrize("value", [1e6, 1e12, -3e38])
def test_an_absurd_state_gives_a_finite_chunk_and_is_counted(
    policy: FlowPolicy, value: float
) -> None:
    """Values beyond `state_bound` are bounded, and the chunk counts them."""
    normal = policy.spec.example(1)
    absurd = normal.state.copy()
    absurd[0] = value
    usual, bounded = policy.predict_chunk([normal, replace(normal, state=absurd)])
    assert np.isfinite(bounded.model).all()
    assert (usual.clipped, bounded.clipped) == (0, 1)

"""Real-time chunking against a plain float64 reference, one sample at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from holdfast.errors import PolicyError
from holdfast.policy.base import Observation, Schedule
from holdfast.policy.flow import FlowPolicy
from holdfast.policy.kinds import load_policy
from holdfast.policy.policy_options import Jacobian
from holdfast.policy.rtc import Guidance, guided_direction, prefix_weights, strength

SCHEDULES: tuple[Schedule, ...] = ("zeros", "ones", "linear", "exp")


def reference_weights(schedule: Schedule, delay: int, horizon: int, steps: int) -> list[float]:
    """Equation 5 of arXiv 2506.07339, and the simpler schedules, step by step."""
    weights = []
    for i in range(steps):
        if i >= horizon:
            weights.append(0.0)
        elif i < delay:
            weights.append(1.0)
        else:
            c = (horizon - i) / (horizon - delay + 1)
            soft = c * (math.exp(c) - 1) / (math.e - 1)
            weights.append({"zeros": 0.0, "ones": 1.0, "linear": c, "exp": soft}[schedule])
    return weights


def reference_chunk(policy: FlowPolicy, observation: Observation) -> NDArray[np.float64]:
    """One guided chunk in float64, with the full Jacobian of the network."""
    network, guidance = policy.network.double(), policy.guidance
    sample = policy.pipeline.before(observation)
    seen, _ = network.observe(
        tuple(torch.from_numpy(observation.images[c.name])[None] for c in policy.spec.cameras),
        torch.from_numpy(sample.state)[None].double(),
        torch.from_numpy(sample.tokens)[None],
    )
    shape = (policy.spec.chunk_size, len(policy.spec.action_names))
    noise = np.random.default_rng(observation.seed).standard_normal(shape, np.float32)
    x = noise.astype(np.float64)
    prefix = np.zeros(shape)
    length = 0 if observation.prefix is None else len(observation.prefix)
    if observation.prefix is not None:
        prefix[:length] = observation.prefix
    horizon = observation.execution_horizon or guidance.execution_horizon or length
    horizon = min(horizon, length)
    delay = min(observation.delay_steps, horizon)
    schedule = observation.guidance_schedule or guidance.schedule
    clip = observation.guidance_clip or guidance.clip
    weights = np.array(reference_weights(schedule, delay, horizon, shape[0]))
    for step in range(policy.euler_steps):
        t = step / policy.euler_steps

        def clean(point: torch.Tensor, t: float = t) -> torch.Tensor:
            time = torch.tensor([t], dtype=torch.float64)
            return network.clean(seen, point.view(1, *shape), time).flatten()

        point = torch.from_numpy(x).flatten()
        chunk = clean(point).detach().numpy()
        error = (prefix.ravel() - chunk) * np.repeat(weights, shape[1])
        if guidance.jacobian == "gradient":
            jacobian = torch.autograd.functional.jacobian(clean, point)  # type: ignore[no-untyped-call] # torch's own
            error = error @ jacobian.numpy()
        if t == 0:
            bend = clip
        else:
            spread = (1 - t) ** 2 / (t**2 + (1 - t) ** 2)
            bend = min(clip, (1 - t) / (t * spread))
        velocity = (chunk - x.ravel()) / (1 - t) + bend * error
        x = x + velocity.reshape(shape) / policy.euler_steps
    policy.network.float()
    return x


@settings(deadline=None)
@given(st.sampled_from(SCHEDULES), st.integers(0, 20), st.integers(0, 20), st.integers(1, 16))
def test_the_prefix_weights_are_those_of_the_paper(
    schedule: Schedule, delay: int, horizon: int, steps: int
) -> None:
    """1 before the delay, decreasing, 0 from the horizon on, for every order of the two."""
    weights = prefix_weights(schedule, delay=delay, horizon=horizon, steps=steps)
    horizon = min(horizon, steps)
    want = reference_weights(schedule, min(delay, horizon), horizon, steps)
    np.testing.assert_allclose(weights, want, atol=1e-6)
    assert (np.diff(weights) <= 1e-7).all(), "agreement never grows with time"


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0.1, 50))
def test_the_guidance_weight_is_finite_and_at_most_the_clip(time: float, clip: float) -> None:
    """Also at both ends of the path, where the formula has no value."""
    bound = torch.tensor(clip, dtype=torch.float64)
    assert 0 < strength(time, bound) <= bound


@pytest.mark.parametrize("jacobian", ["gradient", "identity"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_guided_chunk_equals_that_of_the_reference(
    checkpoint: Path, schedule: Schedule, jacobian: Jacobian
) -> None:
    """For every schedule and both forms, with other delays, prefixes and tasks within a batch."""
    policy = FlowPolicy(
        checkpoint,
        prefix="guided",
        schedule=schedule,
        jacobian=jacobian,
        clip=2.0,
        execution_horizon=5,
    )
    batch = [replace(policy.spec.example(s), delay_steps=s) for s in range(4)]
    batch[1] = replace(batch[1], prefix=None)
    assert batch[2].prefix is not None
    batch[2] = replace(batch[2], prefix=batch[2].prefix[:3], task="left")
    together = policy.predict_chunk(batch)
    for observation, chunk in zip(batch, together, strict=True):
        want = reference_chunk(policy, observation)
        np.testing.assert_allclose(chunk.model, want, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("jacobian", ["gradient", "identity"])
def test_each_sample_of_a_batch_is_guided_as_its_robot_says(
    checkpoint: Path, jacobian: Jacobian
) -> None:
    """Horizon, schedule and clip are per sample; what a robot leaves open is the policy's own."""
    policy = FlowPolicy(checkpoint, prefix="guided", jacobian=jacobian, clip=2.0)
    batch = [replace(policy.spec.example(s), delay_steps=2) for s in range(5)]
    batch[1] = replace(batch[1], execution_horizon=4)
    batch[2] = replace(batch[2], guidance_schedule="ones", guidance_clip=0.5)
    batch[3] = replace(batch[3], execution_horizon=9, guidance_schedule="zeros")
    batch[4] = replace(batch[4], guidance_clip=20.0, guidance_schedule="linear")
    for observation, chunk in zip(batch, policy.predict_chunk(batch), strict=True):
        want = reference_chunk(policy, observation)
        np.testing.assert_allclose(chunk.model, want, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("jacobian", ["gradient", "identity"])
@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.3, 2.0))
def test_guidance_moves_a_chunk_towards_its_prefix_where_the_weight_is_1(
    jacobian: Jacobian, seed: int, spread: float
) -> None:
    """On the exact flow of a Gaussian, and without an effect where the weight is 0."""
    clip = torch.tensor([Guidance().clip], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    middle, noise, prefix = torch.randn(3, 1, 8, 2, generator=generator, dtype=torch.float64)
    weights = torch.tensor([[1.0] * 4 + [0.0] * 4], dtype=torch.float64)

    def sample(weights: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = noise
        for time in (0.0, 0.2, 0.4, 0.6, 0.8):

            def clean(point: torch.Tensor, t: float = time) -> torch.Tensor:
                gain = t * spread**2 / (t**2 * spread**2 + (1 - t) ** 2)
                chunk: torch.Tensor = middle + gain * (point - t * middle)
                return chunk

            x = x + 0.2 * guided_direction(clean, x, time, prefix, weights, clip, jacobian)
        return x

    free, bent = sample(torch.zeros_like(weights)), sample(weights)
    torch.testing.assert_close(bent[:, 4:], free[:, 4:])
    assert (bent - prefix)[:, :4].norm() < (free - prefix)[:, :4].norm()


def test_guidance_without_a_prefix_has_no_effect(checkpoint: Path) -> None:
    """The chunk equals that of the trained way up to rounding."""
    guided, trained = FlowPolicy(checkpoint, prefix="guided"), FlowPolicy(checkpoint)
    observation = replace(guided.spec.example(), prefix=None, delay_steps=4)
    (bent,), (own,) = (p.predict_chunk([observation]) for p in (guided, trained))
    np.testing.assert_allclose(bent.model, own.model, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prefix": "guided", "schedule": "steep"}, "schedule"),
        ({"prefix": "guided", "clip": 0}, "clip"),
        ({"prefix": "guided", "beta": 1}, "beta"),
        ({"schedule": "exp"}, "schedule: guidance options are for prefix 'guided'"),
        ({"prefix": "magic"}, r"'magic' - at `\$\.prefix`"),
        ({"prefix": "guided", "execution_horizon": 13}, "13 steps, but a chunk has 12"),
    ],
)
def test_invalid_guidance_options_are_refused(
    checkpoint: Path, options: dict[str, Any], says: str
) -> None:
    """Loading raises PolicyError that names the option."""
    with pytest.raises(PolicyError, match=says):
        load_policy("flow", checkpoint, **options)


def test_the_spec_has_the_chosen_way_of_continuing_a_plan(checkpoint: Path) -> None:
    """The hash of the weights stays the same."""
    trained = load_policy("flow", checkpoint)
    for way, steps in (("none", 0), ("guided", 12)):
        policy = load_policy("flow", checkpoint, prefix=way)
        assert (policy.spec.prefix, policy.spec.max_prefix_steps) == (way, steps)
        assert policy.checkpoint_hash == trained.checkpoint_hash

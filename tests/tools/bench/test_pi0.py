"""The π0-sized policy of the batch benchmark, in miniature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.errors import PolicyError
from holdfast.policy.graphs import GraphedFunction
from holdfast.tests.policy.trace import Trace
from holdfast.tools.bench.batch import serve
from holdfast.tools.bench.pi0 import Pi0SizedPolicy, Shape, Size

TINY = Shape(
    vision=Size(24, 48, 2, 2, 12, gated=False),
    language=Size(32, 64, 2, 1, 16),
    expert=Size(16, 32, 2, 1, 16),
    depth=2,
    pixels=28,
    vocabulary=64,
    instruction=8,
    joints=3,
    flow_steps=4,
)


@pytest.fixture
def policy() -> Pi0SizedPolicy:
    return Pi0SizedPolicy(TINY, "cpu", torch.float32, "auto")


def test_a_batch_gives_what_each_observation_gives_alone(policy: Pi0SizedPolicy) -> None:
    """Chunks have the spec's shape, are finite, and depend on no other sample."""
    batch = [policy.spec.example(seed) for seed in range(3)]
    for observation, chunk in zip(batch, policy.predict_chunk(batch), strict=True):
        [alone] = policy.predict_chunk([observation])
        assert chunk.robot.shape == (TINY.chunk, TINY.joints)
        assert chunk.robot.dtype == np.float32
        assert np.isfinite(chunk.robot).all()
        np.testing.assert_allclose(chunk.robot, alone.robot, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("feature", ["state", "images", "task", "seed"])
def test_every_input_changes_the_chunk(feature: str, policy: Pi0SizedPolicy) -> None:
    """No part of the arithmetic can be removed without an effect on the actions."""
    one, other = policy.spec.example(1), replace(policy.spec.example(2), task="the left bin")
    changed = replace(one, **{feature: getattr(other, feature)})
    [before], [after] = policy.predict_chunk([one]), policy.predict_chunk([changed])
    assert np.abs(before.robot - after.robot).max() > 1e-4


def test_the_pi0_sized_policy_is_served_like_any_policy(policy: Pi0SizedPolicy) -> None:
    """Shared, in batches, by the replica's own code."""
    device = PolicyRunner(policy)
    assert device.warm_up(max_batch=2) == 2
    assert device.mode == "shared"
    row = serve(policy, "pi0", "deadline", robots=3, max_batch=2, duration_s=2.5)
    assert row["n"] >= 3
    assert row["late"] < 1.0


def test_the_full_shape_has_as_many_parameters_as_the_original() -> None:
    """Counted without memory for them."""
    assert Shape().parameters() == pytest.approx(3.24e9, rel=0.01)


def test_the_policy_is_as_deep_as_the_memory_allows() -> None:
    """Its parameters and 2 GiB fit; too little memory raises PolicyError."""
    gib = 2**30
    assert Shape.fitting(24 * gib) == Shape()
    fewer = Shape.fitting(6 * gib)
    assert 1 <= fewer.depth < Shape().depth
    assert (
        2 * fewer.parameters() <= 4 * gib < 2 * fewer._replace(depth=fewer.depth + 1).parameters()
    )
    with pytest.raises(PolicyError, match=r"0\.5 GiB are free"):
        Shape.fitting(gib // 2)


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]
)
def test_a_graph_can_hold_the_whole_network(dtype: torch.dtype) -> None:
    """Traced with one batch, right for another, in the measured precision too."""
    eager, graphed = (Pi0SizedPolicy(TINY, "cpu", dtype, "off") for _ in range(2))
    trace = Trace()
    graphed.chunks = GraphedFunction(graphed.network, trace)
    for start in (0, 2):
        batch = [eager.spec.example(seed) for seed in range(start, start + 2)]
        for a, b in zip(graphed.predict_chunk(batch), eager.predict_chunk(batch), strict=True):
            assert np.isfinite(a.robot).all()
            np.testing.assert_allclose(a.robot, b.robot, rtol=1e-2, atol=1e-2)
    assert trace.sizes == [2]
    assert not trace.with_host


@pytest.mark.gpu
def test_the_graphs_in_bfloat16_agree_with_the_eager_run() -> None:
    """For batches of every size, in any order."""
    graphed, eager = (
        Pi0SizedPolicy(TINY, "cuda", torch.bfloat16, graphs) for graphs in ("auto", "off")
    )
    for size in (1, 3, 2, 3):
        batch = [eager.spec.example(seed) for seed in range(size)]
        for a, b in zip(graphed.predict_chunk(batch), eager.predict_chunk(batch), strict=True):
            np.testing.assert_allclose(a.robot, b.robot, rtol=2e-2, atol=2e-2)
    assert graphed.execution == "graphs for batches of 1, 2, 3"

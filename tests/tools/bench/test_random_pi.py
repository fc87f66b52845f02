"""The π0 of random weights that benchmarks serve, in miniature."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.errors import PolicyError
from holdfast.policy.graphs import Function, GraphedFunction
from holdfast.policy.pi0.architecture import Architecture
from holdfast.policy.pi0.pi_options import PiOptions
from holdfast.tests.policy.trace import Trace
from holdfast.tools.bench.batch import serve
from holdfast.tools.bench.pi_sizes import small
from holdfast.tools.bench.random_pi import RandomPi, fitting, parameters

torch.set_num_threads(1)

FEW = PiOptions(prefix="none", euler_steps=3)


@pytest.fixture(scope="module")
def policy() -> RandomPi:
    return RandomPi(small("pi0"), options=FEW)


def test_a_batch_gives_what_each_observation_gives_alone(policy: RandomPi) -> None:
    """Chunks have the spec's shape, are finite, and depend on no other sample."""
    batch = [policy.spec.example(seed) for seed in range(3)]
    for observation, chunk in zip(batch, policy.predict_chunk(batch), strict=True):
        [alone] = policy.predict_chunk([observation])
        assert chunk.robot.shape == (policy.spec.chunk_size, len(policy.spec.action_names))
        assert chunk.robot.dtype == np.float32
        assert np.isfinite(chunk.robot).all()
        np.testing.assert_allclose(chunk.robot, alone.robot, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("feature", ["state", "images", "task", "seed"])
def test_every_input_changes_the_chunk(feature: str, policy: RandomPi) -> None:
    """No part of the arithmetic can be removed without an effect on the actions."""
    one, other = policy.spec.example(1), replace(policy.spec.example(2), task="the left bin")
    changed = replace(one, **{feature: getattr(other, feature)})
    [before], [after] = policy.predict_chunk([one]), policy.predict_chunk([changed])
    assert np.abs(before.robot - after.robot).max() > 1e-4


def test_the_random_policy_is_served_like_any_policy() -> None:
    """Shared, in batches, by the replica's own code."""
    policy = RandomPi(msgspec.structs.replace(small("pi0"), steps=50), options=FEW)
    device = PolicyRunner(policy)
    assert device.warm_up(max_batch=2) == 2
    assert device.mode == "shared"
    row = serve(policy, "pi0", "deadline", robots=2, max_batch=2, duration_s=4.0)
    assert row["robots"] == 2


def test_the_published_sizes_have_as_many_parameters_as_the_original() -> None:
    """3.24 thousand million, counted without memory for them."""
    assert parameters(Architecture(family="pi0")) == pytest.approx(3.24e9, rel=0.01)


def test_the_policy_is_as_deep_as_the_memory_allows() -> None:
    """Its weights take two thirds of it; too little memory raises PolicyError."""
    gib = 2**30
    assert fitting("pi0", 24 * gib) == Architecture(family="pi0")
    fewer = fitting("pi0", 6 * gib)
    assert 1 <= fewer.language.layers < 18
    assert 2 * parameters(fewer) <= 4 * gib
    with pytest.raises(PolicyError, match=r"0\.5 GiB are free"):
        fitting("pi0", gib // 2)


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("options", [PiOptions(prefix="none"), PiOptions(jacobian="identity")])
def test_a_graph_can_hold_the_whole_network(dtype: torch.dtype, options: PiOptions) -> None:
    """Traced with one batch, right for another, in the measured precision too."""
    fewer = msgspec.structs.replace(options, euler_steps=2)
    shallow = msgspec.structs.replace(
        (sizes := small("pi05")),
        language=msgspec.structs.replace(sizes.language, layers=2),
        expert=msgspec.structs.replace(sizes.expert, layers=2),
    )
    eager, graphed = (RandomPi(shallow, dtype=dtype, options=fewer) for _ in range(2))
    trace = Trace()
    graphed.model.chunks = GraphedFunction(graphed.model.compute, trace)
    for start in (0, 2):
        batch = [eager.spec.example(seed) for seed in range(start, start + 2)]
        for a, b in zip(graphed.predict_chunk(batch), eager.predict_chunk(batch), strict=True):
            assert np.isfinite(a.robot).all()
            np.testing.assert_allclose(a.robot, b.robot, rtol=2e-2, atol=2e-2)
    assert trace.sizes == [2]
    assert not trace.with_host


def test_the_graphs_made_before_a_failed_capture_stay_in_use(policy: RandomPi) -> None:
    """Texts keep the length for which they were made."""
    captured, replayed = [], []

    def runs_out(function: Function, inputs: tuple[Tensor, ...]) -> Function:
        if (size := len(inputs[0])) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        captured.append(size)

        def replay(*given: Tensor) -> Tensor:
            replayed.append(len(given[0]))
            return function(*given)

        return replay

    graphed = RandomPi(small("pi0"), options=FEW)
    graphed.model.chunks = GraphedFunction(graphed.model.compute, runs_out)
    given = [policy.spec.example(seed) for seed in range(4)]
    for size in (1, 2, 3, 4):
        graphed.predict_chunk(given[:size])
    replayed.clear()
    [chunk], [expected] = (each.predict_chunk(given[:1]) for each in (graphed, policy))
    np.testing.assert_allclose(chunk.robot, expected.robot, rtol=1e-4, atol=1e-5)
    assert (captured, replayed) == ([1, 2, 3], [1])
    assert graphed.execution.startswith("graphs for batches of 1, 2, 3; else eager: ")


@pytest.mark.gpu
@pytest.mark.parametrize("options", [PiOptions(prefix="none"), PiOptions(jacobian="identity")])
def test_the_graphs_in_bfloat16_agree_with_the_eager_run(options: PiOptions) -> None:
    """For batches of every size, in any order."""
    graphed = RandomPi(small("pi05"), "cuda", torch.bfloat16, options=options)
    eager = RandomPi(small("pi05"), "cuda", torch.bfloat16, options=options)
    eager.model.chunks.stay_eager("compared with")
    for size in (1, 3, 2, 3):
        batch = [eager.spec.example(seed) for seed in range(size)]
        for a, b in zip(graphed.predict_chunk(batch), eager.predict_chunk(batch), strict=True):
            np.testing.assert_allclose(a.robot, b.robot, rtol=2e-2, atol=2e-2)
    assert graphed.execution == "graphs for batches of 1, 2, 3"

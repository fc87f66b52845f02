"""Networks as graphs: what is captured, what stays eager, and that both give the same.

Without a GPU a trace substitutes a graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.errors import PolicyError
from holdfast.policy.base import ChunkPolicy
from holdfast.policy.graphs import Function, GraphedFunction
from holdfast.policy.kinds import load_policy
from holdfast.policy.learned import LearnedPolicy
from holdfast.tests.policy.trace import Trace

POLICIES: dict[str, dict[str, Any]] = {
    "trained": {},
    "plain": {"prefix": "none"},
    "guided": {"prefix": "guided", "jacobian": "identity"},
    "act": {},
}


MakePolicy = Callable[..., LearnedPolicy]


@pytest.fixture(params=POLICIES)
def made(request: pytest.FixtureRequest, checkpoint: Path, act_checkpoint: Path) -> MakePolicy:
    """Makes one of the policies that can be captured, with further options."""
    kind, where = ("act", act_checkpoint) if request.param == "act" else ("flow", checkpoint)

    def make(**options: Any) -> LearnedPolicy:
        policy = load_policy(kind, where, **POLICIES[request.param], **options)
        assert isinstance(policy, LearnedPolicy)
        return policy

    return make


def close(one: ChunkPolicy, other: ChunkPolicy, seeds: range, tolerance: float) -> None:
    batch = [one.spec.example(seed) for seed in seeds]
    for a, b in zip(one.predict_chunk(batch), other.predict_chunk(batch), strict=True):
        np.testing.assert_allclose(a.model, b.model, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(a.robot, b.robot, rtol=tolerance, atol=tolerance)


def test_a_trace_of_one_batch_is_valid_for_every_other_batch(
    made: MakePolicy,
) -> None:
    """Delay, prefix and noise are inputs of the graph; nothing in it copies from the host."""
    graphed, eager, trace = made(), made(), Trace()
    graphed.chunks = GraphedFunction(graphed._chunks, trace)
    for start in range(0, 12, 3):
        close(graphed, eager, range(start, start + 3), 1e-5)
        close(graphed, eager, range(start, start + 1), 1e-5)
    assert trace.sizes == [3, 1], "once per batch size"
    assert trace.replays == 8 + len(trace.sizes), "every batch, including the first"
    assert not trace.with_host
    assert graphed.execution == "graphs for batches of 1, 3"


def test_a_policy_on_the_cpu_is_eager(made: MakePolicy) -> None:
    """The default on a CPU captures nothing and says why."""
    policy = made()
    policy.predict_chunk([policy.spec.example(1)])
    assert policy.execution == "eager: graphs need a cuda device, this one is cpu"


@pytest.mark.parametrize("off", ["off", False])
def test_graphs_can_be_switched_off(off: object, made: MakePolicy) -> None:
    """`off` and false, which YAML makes of it, are accepted."""
    assert made(graphs=off).execution == "eager: graphs are switched off"


@pytest.mark.parametrize("value", ["on", True, "always"])
def test_another_value_of_graphs_is_refused(value: object, made: MakePolicy) -> None:
    """The error names the option."""
    with pytest.raises(PolicyError, match="graphs"):
        made(graphs=value)


def test_guidance_by_gradient_stays_eager_and_says_why(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A capture is not attempted where one is possible."""
    trace = Trace()
    with monkeypatch.context() as patch:
        patch.setattr(
            GraphedFunction,
            "on",
            lambda device, function, wanted: GraphedFunction(function, trace),
        )
        policy = load_policy("flow", checkpoint, prefix="guided", jacobian="gradient")
    assert isinstance(policy, LearnedPolicy)
    policy.predict_chunk([policy.spec.example(1)])
    assert trace.sizes == []
    assert policy.execution == "eager: guidance by gradient differentiates while it denoises"


def double(x: Tensor) -> Tensor:
    return 2 * x


def test_a_capture_that_fails_leaves_the_function_eager_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not attempted again for other batch sizes."""
    attempts = []

    def fails(function: Function, inputs: tuple[Tensor, ...]) -> Function:
        attempts.append(len(inputs[0]))
        raise RuntimeError("operation not permitted when stream is capturing\nadvice\nadvice")

    function = GraphedFunction(double, fails)
    with caplog.at_level(logging.WARNING):
        for size in (2, 1, 2, 3):
            assert function(torch.ones(size)).tolist() == [2.0] * size
    assert attempts == [2]
    [record] = caplog.records
    assert record.getMessage().endswith("operation not permitted when stream is capturing")
    assert function.state == f"eager: {record.getMessage().split(': ', 1)[1]}"


def test_a_graph_captured_before_a_failure_stays_in_use(caplog: pytest.LogCaptureFixture) -> None:
    """The same inputs give the same bytes after a later capture failed."""
    trace = Trace()

    def runs_out(function: Function, inputs: tuple[Tensor, ...]) -> Function:
        if len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return trace(function, inputs)

    function = GraphedFunction(double, runs_out)
    for size in (1, 2, 3, 4, 1):
        assert function(torch.ones(size)).tolist() == [2.0] * size
    assert trace.replays == 2 + 3
    assert function.state == (
        "graphs for batches of 1, 2; else eager: capturing failed: CUDA out of memory"
    )


def test_a_shape_that_is_not_worth_a_graph_stays_eager_alone() -> None:
    """Sizes after it are captured, and the status has the reason of each eager one."""
    trace = Trace()

    def picky(function: Function, inputs: tuple[Tensor, ...]) -> Function:
        if len(inputs[0]) in {1, 3}:
            raise PolicyError(f"{len(inputs[0])} is odd")
        return trace(function, inputs)

    function = GraphedFunction(double, picky)
    states = []
    for size in (1, 2, 3, 2):
        assert function(torch.ones(size)).tolist() == [2.0] * size
        states.append(function.state)
    assert trace.sizes == [2]
    assert states[0] == "eager for batches of 1: 1 is odd"
    assert states[-1] == (
        "graphs for batches of 2; eager for batches of 1: 1 is odd; "
        "eager for batches of 3: 3 is odd"
    )


def test_whether_shapes_are_captured_does_not_change_by_a_failure() -> None:
    """A caller that pads by it keeps the shapes of the graphs made before."""

    def runs_out(function: Function, inputs: tuple[Tensor, ...]) -> Function:
        if len(inputs[0]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Trace()(function, inputs)

    function = GraphedFunction(double, runs_out)
    for size in (1, 2, 3):
        function(torch.ones(size))
        assert function.captures
    assert not GraphedFunction(double, None, "switched off").captures


@pytest.mark.parametrize("wrong", [False, True])
def test_a_required_capture_that_fails_is_an_error(wrong: bool) -> None:
    """With what failed and what to do; nothing runs eagerly unsaid."""

    def fails(function: Function, inputs: tuple[Tensor, ...]) -> Function:
        if wrong:
            return lambda *given: torch.zeros_like(given[0])
        raise RuntimeError("no room\nadvice")

    function = GraphedFunction(double, fails, required="write off")
    said = "capturing gave another answer" if wrong else "capturing failed: no room"
    for _ in range(2):
        with pytest.raises(PolicyError, match=f"{said}.*; write off"):
            function(torch.ones(2))


def test_a_graph_that_disagrees_with_the_eager_run_is_never_used() -> None:
    """The result is the eager one, and the state has the reason."""

    def misses(function: Function, inputs: tuple[Tensor, ...]) -> Function:
        return lambda *given: torch.zeros_like(given[0])

    function = GraphedFunction(double, misses)
    assert function(torch.ones(2)).tolist() == [2.0, 2.0]
    assert "another answer" in function.state


@pytest.mark.parametrize(
    ("dtype", "off", "used"),
    [
        (torch.float32, 1e-3, True),
        (torch.float32, 0.05, False),
        (torch.bfloat16, 0.05, True),
        (torch.bfloat16, 0.3, False),
    ],
)
def test_a_graph_may_round_otherwise_than_the_eager_run(
    dtype: torch.dtype, off: float, used: bool
) -> None:
    """By what its dtype makes of fused kernels, and by no more."""
    function = GraphedFunction(double, lambda f, _inputs: lambda *given: f(*given) + off)
    function(torch.full((2,), 0.1, dtype=dtype))
    assert function.state.startswith("graphs for" if used else "eager: capturing gave another")


def test_an_error_of_the_function_itself_is_raised_and_captures_nothing() -> None:
    """It does not count as a failed capture, and the next call is captured."""
    trace = Trace()

    def picky(x: Tensor) -> Tensor:
        if len(x) > 1 and not trace.sizes:
            raise RuntimeError("CUDA error")
        return 2 * x

    function = GraphedFunction(picky, trace)
    with pytest.raises(RuntimeError, match="CUDA error"):
        function(torch.ones(2))
    assert function(torch.ones(1)).tolist() == [2.0]
    assert function.state == "graphs for batches of 1"


@pytest.mark.gpu
def test_graphs_and_eager_agree_on_a_gpu(made: MakePolicy) -> None:
    """For every batch size and for other observations than the captured ones."""
    graphed, eager = made(device="cuda"), made(device="cuda", graphs="off")
    for start in range(0, 12, 4):
        for size in (1, 4, 2, 3):
            close(graphed, eager, range(start, start + size), 1e-4)
    assert graphed.execution == "graphs for batches of 1, 2, 3, 4"


@pytest.mark.gpu
def test_the_same_observation_gives_the_same_bytes_from_a_graph(made: MakePolicy) -> None:
    """Also after other graphs that share its memory have run."""
    policy = made(device="cuda")
    observation = policy.spec.example(3)
    [first] = policy.predict_chunk([observation])
    policy.predict_chunk([policy.spec.example(seed) for seed in range(3)])
    [again] = policy.predict_chunk([observation])
    assert first.model.tobytes() == again.model.tobytes()


@pytest.mark.gpu
def test_a_capture_that_fails_on_a_gpu_leaves_it_usable() -> None:
    """A function that synchronizes stays eager, and the next function is captured."""
    device = torch.device("cuda")

    def synchronizes(x: Tensor) -> Tensor:
        return x * float(x.sum().item())

    ones = torch.ones(2, device=device)
    function = GraphedFunction.on(device, synchronizes, "auto")
    stream = torch.cuda.current_stream()
    assert [function(ones).tolist() for _ in range(2)] == [[2.0, 2.0]] * 2
    assert function.state.startswith("eager: capturing failed")
    assert torch.cuda.current_stream() == stream
    good = GraphedFunction.on(device, double, "auto")
    assert good(ones).tolist() == [2.0, 2.0]
    assert good.state == "graphs for batches of 2"

"""`compile`: the network's parts compiled on a CPU. Here nothing is compiled to machine code, which
takes minutes: the parts are traced, and run as they were traced."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.errors import PolicyError
from holdfast.policy import compilation
from holdfast.policy.pi0.pi_options import PiOptions
from holdfast.policy.pi0.pi_policy import Pi0Policy, Pi05Policy, PiPolicy
from holdfast.tests.peers.small_pi_checkpoint import write_openpi_checkpoint
from holdfast.tools.bench.pi_sizes import small
from holdfast.tools.bench.random_pi import RandomPi

KINDS: dict[str, type[PiPolicy]] = {"pi0": Pi0Policy, "pi05": Pi05Policy}
LIBERO: dict[str, Any] = {"mapping": "libero", "camera_size": (48, 32), "euler_steps": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pi")


@cache
def folder_of(base: Path, family: str) -> Path:
    return write_openpi_checkpoint(base / family, family)


def policy_of(base: Path, family: str, **options: Any) -> PiPolicy:
    return KINDS[family](str(folder_of(base, family)), **LIBERO, **options)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling without a compiler."""
    torch._dynamo.reset()
    monkeypatch.setattr(compilation, "why_not", lambda _device: "")
    made = torch.compile
    monkeypatch.setattr(
        compilation, "compiled", lambda function: made(function, backend="aot_eager")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "how", "sizes", "most"),
    [
        ("pi05", {}, (1, 3), 96),
        ("pi0", {"prefix": "trained", "trained_steps": 6}, (3,), 48),
    ],
)
@pytest.mark.usefixtures("traced")
def test_compiled_parts_give_the_chunks_of_the_eager_run(
    family: str, how: dict[str, Any], sizes: tuple[int, ...], most: int, base: Path
) -> None:
    """Guided by gradients and with given steps, each sample with its own prompt, plan and delay."""
    eager, ours = (policy_of(base, family, compile=way, **how) for way in (False, True))
    assert eager.checkpoint_hash == ours.checkpoint_hash
    assert not eager.preparation
    assert "compiles" in ours.preparation
    tasks = ("pick the red parcel", "open the drawer", "")
    given = [ours.spec.example(seed, task) for seed, task in enumerate(tasks)]
    given[2] = replace(given[2], delay_steps=0)
    for batch in (given[:size] for size in sizes):
        found, expected = (
            np.stack([chunk.robot for chunk in policy.predict_chunk(batch)])
            for policy in (ours, eager)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    batches = ", ".join(map(str, sizes))
    assert ours.execution == f"compiled for batches of {batches}, texts of at most {most} tokens"
    long = [replace(given[0], task="pick the red parcel " * 12)]
    found, expected = (policy.predict_chunk(long)[0].robot for policy in (ours, eager))
    assert np.array_equal(found, expected), "a longer text is not compiled while a robot waits"


def test_what_compiling_makes_no_faster_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """By measurement, unless it is asked for; the status says so."""
    monkeypatch.setattr(compilation, "why_not", lambda _device: "")
    monkeypatch.setattr(compilation, "ratio_of", lambda *_: 1.25)
    cpu, x = torch.device("cpu"), torch.ones(2)

    def eager(value: Tensor) -> Tensor:
        return value + 1

    def eager_twin(value: Tensor) -> Tensor:
        return 1 + value

    states = []
    wanted: compilation.Wanted
    for wanted in ("auto", "on"):
        function = compilation.compiled_function(cpu, eager, lambda: eager_twin, wanted)
        assert torch.equal(function(x), x + 1)
        states.append(function.state)
    assert states == [
        "eager for batches of 2: compiled, a batch takes 1.25 times as long",
        "compiled for batches of 2",
    ]


def plus_one(value: Tensor) -> Tensor:
    return value + 1


def test_each_batch_size_is_measured_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of one that compiling slows down leaves larger ones compiled."""
    monkeypatch.setattr(compilation, "why_not", lambda _device: "")
    ratios = {1: 1.2, 2: 0.5}
    monkeypatch.setattr(compilation, "ratio_of", lambda _f, _g, inputs: ratios[len(inputs[0])])
    function = compilation.compiled_function(
        torch.device("cpu"), plus_one, lambda: lambda value: 1 + value, "auto"
    )
    for size in (1, 2, 1):
        assert torch.equal(function(torch.ones(size)), torch.full((size,), 2.0))
    assert function.state == (
        "compiled for batches of 2; eager for batches of 1: compiled, a batch takes 1.20 times as "
        "long"
    )


def test_what_cannot_be_compiled_is_an_error_where_compiling_is_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`auto` is eager then and says why."""
    monkeypatch.setattr(compilation, "why_not", lambda _device: "")

    def broken(value: Tensor) -> Tensor:
        raise RuntimeError("C++ compile error")

    cpu, x = torch.device("cpu"), torch.ones(2)
    function = compilation.compiled_function(cpu, plus_one, lambda: broken, "on")
    with pytest.raises(PolicyError, match=r"compiling failed: C\+\+ .*write `compile: auto`"):
        function(x)
    function = compilation.compiled_function(cpu, plus_one, lambda: broken, "auto")
    assert torch.equal(function(x), x + 1)
    assert function.state == "eager: compiling failed: C++ compile error"


def test_without_a_compiler_auto_is_eager_and_on_is_refused(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is missing and what to do."""
    monkeypatch.setenv("CXX", "/nonexistent/c++")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nonexistent/c++"))
    policy = policy_of(base, "pi0", prefix="none", compile="auto")
    policy.predict_chunk([policy.spec.example(0, "pick")])
    assert policy.execution.startswith("eager: compiling needs a C++ compiler, none was found")
    with pytest.raises(PolicyError, match=r"compile: on: .*install g\+\+"):
        policy_of(base, "pi0", prefix="none", compile="on")


@pytest.mark.parametrize("wanted", ["off", "auto", "on"])
def test_a_wrong_value_of_graphs_is_refused_whether_compiled_or_not(
    wanted: compilation.Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused on a CPU too, where no graph is made."""
    monkeypatch.setattr(compilation, "why_not", lambda _device: "")
    options: Any = {"graphs": "always", "compile": wanted}
    with pytest.raises(PolicyError, match="graphs must be auto"):
        RandomPi(small("pi05"), options=PiOptions(prefix="none", **options))


def test_a_wrong_value_is_refused(base: Path) -> None:
    """By name."""
    with pytest.raises(PolicyError, match=r"compile"):
        policy_of(base, "pi0", compile="always")

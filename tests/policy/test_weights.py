"""Hashes of the weights in an object, and the contract that includes one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.weights import weights_hash

SPEC = PolicySpec(
    model="m",
    revision="1",
    cameras=(CameraFeature("top", 32, 24),),
    state_names=("a", "b"),
    action_names=("a", "b"),
    chunk_size=30,
    fps=30.0,
    prefix="trained",
    max_prefix_steps=10,
)


def network(seed: int, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    for parameter in made.parameters():
        nn.init.normal_(parameter, generator=generator)
    return made.to(dtype)


class Holder:
    """Has what it predicts with as an attribute."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def predict_chunk(self, batch: Any) -> Any:
        return self.held(batch)

    def __call__(self, batch: Any) -> Any:
        return self.held(batch)


class Slotted:
    """Has it in a global variable."""

    def __call__(self, batch: Any) -> Any:
        return GLOBAL(batch)


GLOBAL: Any = None


def uses_global(batch: Any) -> Any:
    return GLOBAL(batch)


def applied(batch: Any, net: nn.Module) -> Any:
    return net(batch)


def calls_another(batch: Any) -> Any:
    return [uses_global(one) for one in batch]


def closed_over(net: nn.Module) -> Any:
    def predict(batch: Any) -> Any:
        return net(batch)

    return predict


HOLDERS: dict[str, Callable[[nn.Module], Any]] = {
    "itself": lambda net: net,
    "attribute": Holder,
    "attribute of an attribute": lambda net: Holder(Holder(net)),
    "list": lambda net: Holder([net]),
    "dict": lambda net: Holder({"net": net}),
    "method": lambda net: Holder(net).predict_chunk,
    "partial": lambda net: partial(applied, net=net),
    "closure": closed_over,
    "wrapped closure": lambda net: partial(closed_over(net)),
    "global": lambda net: uses_global,
    "global of a function that it calls": lambda net: calls_another,
    "global of a method": lambda net: Slotted(),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_weights_are_found_wherever_a_policy_refers_to_them(
    holder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights have the same hash, and others have another."""

    def hashed(net: nn.Module) -> str | None:
        monkeypatch.setitem(globals(), "GLOBAL", net)
        return weights_hash(HOLDERS[holder](net))

    first = hashed(network(1))
    assert first is not None
    assert hashed(network(1)) == first
    assert len({first, hashed(network(2)), hashed(network(1, torch.bfloat16))}) == 3
    changed = network(1)
    mean = changed.get_buffer("1.running_mean")
    mean += 1
    assert hashed(changed) != first


def test_an_object_without_weights_has_no_hash() -> None:
    """The result is None."""
    assert weights_hash(lambda batch: batch) is None
    assert weights_hash(Holder(3)) is None
    assert weights_hash(Holder(np.array(["a name"]))) is None


ARRAYS: dict[str, Callable[[int], Any]] = {
    "numpy": lambda value: np.full((2, 3), value, np.float32),
    "numpy, not contiguous": lambda value: np.full((3, 4), value, np.float32).T[::2],
    "numpy, a single number": np.array,
    "tensor": lambda value: torch.full((2, 3), value, dtype=torch.bfloat16),
    "parameter": lambda value: nn.Parameter(torch.full((2, 3), float(value))),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("holder", HOLDERS)
def test_arrays_count_as_weights_wherever_a_policy_refers_to_them(
    kind: str, holder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same values of the same shape and type have the same hash, and others another."""

    def hashed(array: Any) -> str | None:
        monkeypatch.setitem(globals(), "GLOBAL", array)
        return weights_hash(HOLDERS[holder](array))

    array = ARRAYS[kind]
    first = hashed(array(1))
    assert first is not None
    assert hashed(array(1)) == first
    assert len({first, hashed(array(2)), hashed(array(1).reshape(-1)[:1])}) == 3


def test_networks_and_arrays_are_hashed_together() -> None:
    """A change of either changes the hash."""
    hashes = {
        weights_hash(Holder([network(seed), np.full(2, value)]))
        for seed in (1, 2)
        for value in (1, 2)
    }
    assert len(hashes) == 4


CHANGES: dict[str, Any] = {
    "model": "n",
    "revision": "2",
    "cameras": (CameraFeature("top", 64, 24),),
    "state_names": ("b", "a"),
    "action_names": ("b", "a"),
    "chunk_size": 31,
    "fps": 31.0,
    "control_mode": "velocity",
    "prefix": "guided",
    "max_prefix_steps": 9,
    "by_count": True,
    "observation_steps": 2,
}


def test_every_field_that_a_robot_relies_on_changes_the_contract() -> None:
    """Each field of the spec but `stateful` and `only_task`, and the hash of the weights."""
    changed = [msgspec.structs.replace(SPEC, **{key: value}) for key, value in CHANGES.items()]
    contracts = {SPEC.contract("0"), SPEC.contract("1"), *(s.contract("0") for s in changed)}
    assert len(contracts) == 2 + len(CHANGES)
    for other in ({"stateful": True}, {"only_task": "pick"}):
        assert msgspec.structs.replace(SPEC, **other).contract("0") == SPEC.contract("0")
    # Of a policy that sees several observations.
    near, far = (
        msgspec.structs.replace(SPEC, observation_steps=2, observation_stride_steps=stride)
        for stride in (1, 2)
    )
    assert near.contract("0") != far.contract("0")
    fields = set(PolicySpec.__struct_fields__)
    assert set(CHANGES) == fields - {"stateful", "observation_stride_steps", "only_task"}

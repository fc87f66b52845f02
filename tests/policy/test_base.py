"""The interface of a policy."""

from __future__ import annotations

import dataclasses
import doctest
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.policy import base
from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.processing import check_observation


def test_the_examples_in_the_docstrings_run() -> None:
    """Each exported class has an example, and every example gives what it shows."""
    result = doctest.testmod(base)
    assert result.attempted >= 8 and result.failed == 0


SPEC = PolicySpec(
    model="reach",
    revision="1",
    cameras=(CameraFeature("wrist", width=8, height=6),),
    state_names=("x", "y"),
    action_names=("x", "y"),
    chunk_size=30,
    fps=30,
)


def test_a_policy_that_sees_one_observation_has_the_contract_of_before() -> None:
    """The stride says nothing then; more observations, or another stride, are another contract."""
    assert replace(SPEC, observation_stride_steps=5).contract("w") == SPEC.contract("w")
    three = replace(SPEC, observation_steps=3)
    contracts = {
        each.contract("w") for each in (SPEC, three, replace(three, observation_stride_steps=5))
    }
    assert len(contracts) == 3


def test_an_example_of_several_observations_ends_with_the_newest() -> None:
    """It is a valid observation, with histories of the spec's length."""
    spec = replace(SPEC, observation_steps=3)
    example = spec.example(1)
    check_observation(spec, example)
    assert example.state_history is not None and example.state_history.shape == (3, 2)
    assert (example.state_history[-1] == example.state).all()
    assert (example.image_history["wrist"][-1] == example.images["wrist"]).all()
    assert SPEC.example(1).state_history is None


@pytest.mark.parametrize("missing", ["state_history", "image_history"])
def test_an_observation_without_its_history_is_refused_by_name(missing: str) -> None:
    """For a policy that sees several observations."""
    spec = replace(SPEC, observation_steps=3)
    empty: Any = {"state_history": None, "image_history": {}}[missing]
    with pytest.raises(ValueError, match=missing):
        check_observation(spec, dataclasses.replace(spec.example(1), **{missing: empty}))

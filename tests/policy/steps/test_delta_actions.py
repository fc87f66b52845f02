"""Actions as differences from the state, and states and actions at a model's size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import StepError
from holdfast.policy.steps import (
    AbsoluteActions,
    CutActions,
    Data,
    DeltaActions,
    PadToModel,
    StepPair,
    bool_mask,
)

ARM = bool_mask(2, -1)


def data(state: list[float], actions: list[list[float]]) -> dict[str, Any]:
    return {"state": np.array(state, np.float32), "actions": np.array(actions, np.float32)}


@given(st.lists(st.integers(-4, 4)))
def test_a_mask_has_so_many_dimensions_as_its_numbers_say(dims: list[int]) -> None:
    """A positive number sets dimensions, a negative one leaves them; 0 adds none."""
    mask = bool_mask(*dims)
    assert len(mask) == sum(map(abs, dims))
    assert sum(mask) == sum(dim for dim in dims if dim > 0)


def test_joints_become_differences_and_the_gripper_stays() -> None:
    """Every step of the chunk counts from the one state; dimensions beyond the mask stay too."""
    given_data = data([1, 2, 3, 4], [[3, 4, 5, 6], [5, 6, 7, 8]])
    made = DeltaActions(ARM)(given_data)
    assert made["actions"].tolist() == [[2, 2, 5, 6], [4, 4, 7, 8]]
    assert made["actions"].dtype == np.float32
    assert given_data["actions"][0].tolist() == [3, 4, 5, 6]  # what came is not changed
    assert AbsoluteActions(ARM)(made)["actions"].tolist() == [[3, 4, 5, 6], [5, 6, 7, 8]]


@pytest.mark.parametrize("step", [DeltaActions, AbsoluteActions])
def test_without_a_mask_or_actions_nothing_changes(step: Any) -> None:
    """None is no mask; a robot's observation has no actions."""
    whole = data([1, 2, 3], [[1, 2, 3]])
    assert step(None)(whole) is whole
    observation = {"state": whole["state"]}
    assert step(ARM)(observation) is observation


@pytest.mark.parametrize("step", [DeltaActions, AbsoluteActions])
def test_a_state_that_is_too_short_for_the_mask_is_an_error(step: Any) -> None:
    """It names the step, the key, what was there and the size of the mask."""
    name = step.__name__
    with pytest.raises(StepError, match=rf"{name}: 'state' is float32\[2\], expected \[at least 3"):
        step(ARM)(data([1, 2], [[1, 2, 3]]))
    with pytest.raises(StepError, match=rf"{name}: 'actions' is float32\[1, 2\], expected \[steps"):
        step(ARM)(data([1, 2, 3], [[1, 2]]))
    with pytest.raises(StepError, match=rf"{name}: there is no 'state'; there is actions float32"):
        step(ARM)({"actions": np.zeros((1, 3), np.float32)})
    with pytest.raises(StepError, match="'state' is str, expected numbers"):
        step(ARM)({"state": "x", "actions": np.zeros((1, 3))})


VALUES = st.floats(-10, 10, width=32)


@given(
    st.lists(VALUES, min_size=3, max_size=3),
    st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(3, 8),
)
def test_actions_come_back_from_a_models_side(
    state: list[float], actions: list[list[float]], size: int
) -> None:
    """Differences, then zeros up to the model's size: after the model, actions are as before."""
    pair = StepPair(
        [DeltaActions(ARM), PadToModel(size)], [AbsoluteActions(ARM), CutActions(len(ARM))]
    )
    before = pair.before(data(state, actions))
    assert before["state"].shape == (size,)
    assert before["actions"].shape == (len(actions), size)
    assert not before["actions"][:, 3:].any()
    after = pair.after(before)
    assert set(after) == {"actions"}
    assert np.allclose(after["actions"], np.array(actions, np.float32), atol=1e-5)


@pytest.mark.parametrize(
    ("step", "sample", "why"),
    [
        (
            PadToModel(2),
            data([1, 2, 3], [[1]]),
            "'state' is float32.3., expected at most the 2 val",
        ),
        (PadToModel(4), {"actions": np.zeros((1, 1))}, "there is no 'state'"),
        (CutActions(4), data([1], [[1, 2]]), "expected .steps, at least 4 values"),
    ],
)
def test_what_does_not_fit_the_model_is_an_error(step: Any, sample: Data, why: str) -> None:
    """A state longer than the model's, and a chunk narrower than the robot's."""
    with pytest.raises(StepError, match=why):
        step(sample)

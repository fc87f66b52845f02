"""The usual keys of GR00T's clients, and that every name of a policy is in exactly one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.clients.groot_modalities import Modalities, usual_keys
from holdfast.actors.runtime.client_configs import GrootMapping
from holdfast.policy.base import PolicySpec


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["shoulder_pan.pos", "gripper.pos"], ["single_arm", "gripper"]),
        (["x", "y"], ["single_arm"]),
        (["gripper"], ["gripper"]),
        (["left_j1", "left_gripper", "right_j1"], ["left_arm", "left_gripper", "right_arm"]),
        (["left_j1", "torso"], ["single_arm"]),
        ([], []),
    ],
)
def test_the_usual_keys_are_those_of_groots_examples(names: list[str], keys: list[str]) -> None:
    """SO-100 has single_arm and gripper, two arms have theirs by side."""
    assert list(usual_keys(names)) == keys


WORDS = st.lists(
    st.text("abc_.", min_size=1, max_size=4) | st.sampled_from(["left_gripper", "gripper.pos"]),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(WORDS)
def test_each_name_is_in_one_key_and_its_values_come_back_by_it(names: list[str]) -> None:
    """A column for each name, none twice."""
    spec = PolicySpec(
        model="m",
        revision="1",
        cameras=(),
        state_names=tuple(names),
        action_names=tuple(names),
        chunk_size=2,
        fps=1.0,
    )
    modalities = Modalities(spec, GrootMapping())
    actions = np.arange(2 * len(names), dtype=np.float32).reshape(2, -1)
    parts = modalities.parts(actions)
    assert list(parts) == list(usual_keys(names))
    for key, part in parts.items():
        columns = [names.index(name) for name in usual_keys(names)[key]]
        assert part.tolist() == actions[:, columns].tolist()
    assert sum(part.shape[1] for part in parts.values()) == len(names)

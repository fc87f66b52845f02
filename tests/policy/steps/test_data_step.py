"""Pairs of steps, keys within nested data, and what an unfit value is answered by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import StepError
from holdfast.policy.steps import Data, DefaultPrompt, PromptOfTask, Repack, StepPair
from holdfast.policy.steps.key_paths import flattened, nested, value_at


def noting(name: str) -> Any:
    """A step that appends its name to `steps`."""
    return lambda data: {**data, "steps": [*data.get("steps", []), name]}


def test_pairs_nest_around_the_model() -> None:
    """What is pushed comes nearer to the model: last before it, first after it."""
    outer = StepPair([noting("a"), noting("b")], [noting("y"), noting("z")])
    pair = outer.push(StepPair([noting("c")], [noting("x")]))
    assert pair.before({})["steps"] == ["a", "b", "c"]
    assert pair.after({})["steps"] == ["x", "y", "z"]


KEYS = st.text("abc", min_size=1, max_size=2)
TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_leaves=8
)


@given(st.dictionaries(KEYS, TREES, max_size=3))
def test_nested_data_and_their_paths_are_the_same_thing(data: Data) -> None:
    """Flattening and nesting are inverse, and each path leads to its value."""
    flat = flattened(data)
    assert nested(flat) == data
    assert all(value_at(data, path, "test") == value for path, value in flat.items())


def test_a_key_with_a_slash_is_a_path_too() -> None:
    """DROID's clients send one map with such keys, ALOHA's maps within a map."""
    assert value_at({"observation/state": 1}, "observation/state", "test") == 1
    assert value_at({"observation": {"state": 1}}, "observation/state", "test") == 1
    assert value_at({"images": {"top": 1}}, "images", "test") == {"top": 1}


def test_a_dataset_is_repacked_to_the_keys_of_observations() -> None:
    """New keys in their new form, the others dropped; only an optional key may be absent."""
    repack = Repack(
        {"images": {"top": "observation.images.top"}, "state": "robot/state", "actions": "action"},
        optional=["action"],
    )
    sample = {"observation.images.top": "pixels", "robot": {"state": 1}, "action": 2, "index": 3}
    assert repack(sample) == {"images": {"top": "pixels"}, "state": 1, "actions": 2}
    del sample["action"]
    assert repack(sample) == {"images": {"top": "pixels"}, "state": 1}


def test_a_missing_key_is_named_with_what_is_there() -> None:
    """The error says which step, which key, and the keys that came with their shapes."""
    image = np.zeros((6, 8, 3), np.uint8)
    with pytest.raises(StepError) as caught:
        Repack({"state": "robot/state"})({"robot": {"stat": np.zeros(3)}, "top": image, "task": ""})
    assert str(caught.value) == (
        "Repack: there is no 'robot/state'; there is robot/stat float64[3], top uint8[6, 8, 3], "
        "task str"
    )


def test_a_prompt_is_added_where_there_is_none() -> None:
    """A given instruction stays; None adds nothing; the data that came are not changed."""
    data: Data = {"state": 1}
    assert DefaultPrompt("fold")(data) == {"state": 1, "prompt": "fold"}
    assert DefaultPrompt("fold")({"prompt": "open"}) == {"prompt": "open"}
    assert DefaultPrompt(None)(data) == {"state": 1}
    assert data == {"state": 1}


def test_a_datasets_task_becomes_the_prompt() -> None:
    """By its index, as a number or an array; one without words is an error that lists those."""
    step = PromptOfTask({0: "fold", 3: "open"})
    assert step({"task_index": np.int64(3)})["prompt"] == "open"
    with pytest.raises(StepError, match=r"PromptOfTask: 'task_index' is int, expected .* 0, 3"):
        step({"task_index": 1})
    with pytest.raises(StepError, match="there is no 'task_index'"):
        step({})

"""The steps around a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import PolicyError
from holdfast.policy.base import CameraFeature, Observation, PolicySpec
from holdfast.policy.normalize import Normalizer, Stats
from holdfast.policy.processing import (
    Clamp,
    Normalize,
    Pipeline,
    RelativeActions,
    Sample,
    Tokenize,
    check_observation,
)
from holdfast.policy.tokens import PAD, UNKNOWN, Vocabulary

SPEC = PolicySpec(
    model="m",
    revision="1",
    cameras=(CameraFeature("front", 8, 6),),
    state_names=("x", "y", "grip"),
    action_names=("x", "y"),
    chunk_size=4,
    fps=30.0,
    prefix="trained",
    max_prefix_steps=2,
)


def pipeline(relative: bool) -> Pipeline:
    """Normalisation that is not the identity, after relative actions if asked for."""
    rng = np.random.default_rng(5)
    normalize = Normalize(
        Normalizer(Stats.of(rng.normal(1, 3, (40, 3))), "zscore"),
        Normalizer(Stats.of(rng.normal(-2, 0.5, (40, 2))), "quantile"),
    )
    return Pipeline([RelativeActions((0, None)), normalize] if relative else [normalize])


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_a_robot_space_prefix_is_normalized_and_restored_exactly(seed: int) -> None:
    """For relative actions both directions use the state of the same request."""
    steps = pipeline(relative=True)
    example = SPEC.example(seed)
    observation = replace(example, prefix_robot=example.prefix)
    sample = steps.before(observation)
    assert sample.prefix is not None and observation.prefix_robot is not None
    np.testing.assert_allclose(
        steps.after(sample.prefix, sample).robot, observation.prefix_robot, atol=1e-4
    )


def test_a_model_space_prefix_is_not_changed() -> None:
    """With absolute actions, bit for bit."""
    observation = SPEC.example(1)
    sample = pipeline(relative=False).before(observation)
    assert observation.prefix is not None and sample.prefix is not None
    assert sample.prefix.tobytes() == observation.prefix.tobytes()


def test_relative_actions_of_two_robots_in_one_pipeline_do_not_mix() -> None:
    """Each chunk counts from the state of its own request."""
    steps = Pipeline([RelativeActions((0, None))])
    here = replace(SPEC.example(), prefix=None, state=np.array([1, 0, 0], np.float32))
    there = replace(SPEC.example(), prefix=None, state=np.array([100, 0, 0], np.float32))
    first, second = steps.before(here), steps.before(there)
    zeros = np.zeros((4, 2), np.float32)
    np.testing.assert_array_equal(steps.after(zeros, first).robot[:, 0], 1)
    np.testing.assert_array_equal(steps.after(zeros, second).robot[:, 0], 100)
    np.testing.assert_array_equal(steps.after(zeros, first).robot[:, 1], 0)


def test_a_prefix_of_relative_actions_is_refused_without_robot_space() -> None:
    """The error names the missing field."""
    with pytest.raises(ValueError, match="prefix_robot is missing"):
        pipeline(relative=True).before(replace(SPEC.example(), prefix_robot=None))


def test_relative_actions_are_named_after_states() -> None:
    """A relative action needs a state of its name."""
    assert RelativeActions.named(SPEC, ["y"]).state_columns == (None, 1)
    for name in ("grip", "z"):
        with pytest.raises(PolicyError, match=f"'{name}' must be an action and a state"):
            RelativeActions.named(SPEC, [name])


def test_a_pipeline_returns_a_chunk_in_both_spaces() -> None:
    """Model space as the network made it, robot space in the robot's units."""
    steps = pipeline(relative=False)
    actions = np.random.default_rng(0).standard_normal((4, 2), np.float32)
    chunk = steps.after(actions, steps.before(SPEC.example()))
    np.testing.assert_array_equal(chunk.model, actions)
    assert not np.allclose(chunk.robot, actions)
    assert chunk.robot.dtype == np.float32 and chunk.robot.flags.c_contiguous


def _with_image(observation: Observation, image: Any) -> Observation:
    return replace(observation, images={"front": image})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda o: replace(o, state=o.state[:2]), r"state must be float32 \[3\], found .* \[2\]"),
        (lambda o: replace(o, state=o.state.astype(np.float64)), "state must be float32"),
        (lambda o: replace(o, state=o.state * np.nan), "state holds values that are not finite"),
        (lambda o: replace(o, images={"back": o.images["front"]}), "'front' is missing.*back"),
        (lambda o: _with_image(o, o.images["front"][:, :-1]), r"'front' must be uint8 \[6, 8, 3\]"),
        (lambda o: _with_image(o, o.images["front"] / 255), "'front' must be uint8"),
        (lambda o: replace(o, prefix=o.prefix[:, :1]), r"prefix must be float32 \[2, 2\]"),
        (lambda o: replace(o, prefix=o.prefix[0]), r"prefix must be \[steps, actions\]"),
        (lambda o: replace(o, prefix_robot=o.prefix * np.inf), "prefix_robot holds values"),
        (lambda o: replace(o, delay_steps=-1), "delay_steps must be 0 or more, found -1"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused_naming_the_feature(
    change: Callable[[Observation], Observation], says: str
) -> None:
    """The error says what was found and what was expected."""
    check_observation(SPEC, SPEC.example())
    with pytest.raises(ValueError, match=says):
        check_observation(SPEC, change(SPEC.example()))


@settings(deadline=None)
@given(st.text())
def test_every_text_is_encoded_within_the_vocabulary(task: str) -> None:
    """The tokens have the given length and valid numbers for every text."""
    vocabulary = Vocabulary.of(["put the red parcel in the left bin"])
    tokens = vocabulary.encode(task, 5)
    assert tokens.shape == (5,) and tokens.dtype == np.int64
    assert ((tokens >= 0) & (tokens < len(vocabulary))).all()


def test_known_words_have_their_number_and_others_are_unknown() -> None:
    """Case and punctuation have no effect, unknown words are <unk>, and the rest is padding."""
    vocabulary = Vocabulary.of(["take red", "take blue"])
    tokens = vocabulary.encode("Please, take RED!", 5)
    assert tokens[0] == UNKNOWN
    assert [vocabulary.words[t - 2] for t in tokens[1:3]] == ["take", "red"]
    assert list(tokens[3:]) == [PAD, PAD]


def test_a_tokenize_step_writes_the_tokens_of_the_task() -> None:
    """The sample of a pipeline has the tokens of its task."""
    vocabulary = Vocabulary(["take"])
    sample = Pipeline([Tokenize(vocabulary, 3)]).before(replace(SPEC.example(), task="take it"))
    assert sample.tokens is not None and list(sample.tokens) == [2, UNKNOWN, PAD]


def test_an_action_is_clamped_to_the_command_range_in_robot_space() -> None:
    """The chunk in model space is not clamped."""
    clamp = Clamp(np.array([0.0, -1.0], np.float32), np.array([1.0, 1.0], np.float32))
    sample = Sample(state=np.zeros(1, np.float32))
    meant = np.array([[-0.001, 0.5], [1.002, -1.5]], np.float32)
    chunk = Pipeline((clamp,)).after(meant, sample)
    assert np.array_equal(chunk.robot, np.array([[0.0, 0.5], [1.0, -1.0]], np.float32))
    assert np.array_equal(chunk.model, meant)

"""The FAST tokens of a chunk."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import PolicyError
from holdfast.policy.pi0.action_tokens import NO_PART, ActionTokens, read_action_tokens
from holdfast.tests.peers.small_pi_checkpoint import write_action_tokenizer

CHUNKS = st.builds(
    lambda seed, steps, actions: np.random.default_rng(seed).uniform(-1, 1, (steps, actions)),
    st.integers(0, 1000),
    st.integers(1, 20),
    st.integers(1, 8),
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> ActionTokens:
    return ActionTokens(write_action_tokenizer(tmp_path_factory.mktemp("fast") / "it", -300))


@given(chunk=CHUNKS)
@settings(max_examples=60, deadline=None)
def test_a_chunk_is_what_its_tokens_say(
    chunk: np.ndarray[tuple[int, int], np.dtype[np.float64]], tokens: ActionTokens
) -> None:
    """Within the rounding of all coefficients: half a unit of each, divided by the scale."""
    found = tokens.decode(tokens.encode(chunk), *chunk.shape)
    error = np.sqrt(((found - chunk) ** 2).sum())
    assert error <= 0.5 * math.sqrt(chunk.size) / 10 + 1e-5


def test_a_wave_has_the_coefficients_of_the_orthonormal_transform(tokens: ActionTokens) -> None:
    """Sum of x[t] cos(pi k (2t + 1) / 2n), times sqrt(2 / n), the first divided by sqrt(2)."""
    steps = 8
    wave = np.array([[math.cos(math.pi * 2 * (2 * t + 1) / (2 * steps))] for t in range(steps)])
    text = tokens._pairs.decode(tokens.encode(wave), skip_special_tokens=False)
    coefficients = [ord(letter) - 300 for letter in text]
    assert coefficients == [0, 0, round(math.sqrt(2 / steps) * steps / 2 * 10), *[0] * 5]


@given(chunk=CHUNKS)
@settings(max_examples=60, deadline=None)
def test_the_parts_of_a_text_fit_to_each_other(
    chunk: np.ndarray[tuple[int, int], np.dtype[np.float64]], tokens: ActionTokens
) -> None:
    """The letters of all tokens are the chunk's, also where a letter lies in two of them."""
    made = tokens.encode(chunk)
    assert int(tokens.letters[made].sum()) == chunk.size
    within = False
    for token in made:
        assert tokens.begins[token] == within
        within = tokens.ends[token]
    assert not within


def test_bytes_that_are_no_letter_are_no_part(tokens: ActionTokens) -> None:
    """A second byte after a whole letter, or one of three bytes: no token of a chunk has these."""
    assert (tokens.letters < NO_PART).sum() > 200
    assert (tokens.letters == NO_PART).any()


def test_tokens_of_another_size_are_an_error(tokens: ActionTokens) -> None:
    """What was found and what was expected; nothing is cut or filled up."""
    made = tokens.encode(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="have 8 coefficients, expected 5 steps of 2"):
        tokens.decode(made, 5, 2)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"scale": 10}, "expected a map with scale"),
        ({"scale": 0, "min_token": 1}, "scale is 0.0, expected more than 0"),
        ([], "expected a map with scale"),
    ],
)
def test_a_wrong_configuration_is_refused(config: object, words: str, tmp_path: Path) -> None:
    """The error names the file and what is wrong in it."""
    folder = write_action_tokenizer(tmp_path / "fast")
    (folder / "processor_config.json").write_text(json.dumps(config))
    with pytest.raises(PolicyError, match=words):
        ActionTokens(folder)


def test_a_tokenizer_that_is_not_there_is_looked_for_in_named_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the option that names one is said."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(PolicyError, match="action_tokenizer: PATH"):
        read_action_tokens(tmp_path, None)

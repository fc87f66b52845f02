"""The words that an insulated language model answers with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from holdfast.policy.pi0.action_tokens import read_action_tokens
from holdfast.policy.pi0.fast_decoding import SKIPPED
from holdfast.tests.peers.small_pi_checkpoint import write_action_tokenizer
from holdfast.tools.training.action_answers import ActionAnswers

PUBLISHED = 257152
"""PaliGemma's words, all of which its tokenizer has."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_action_tokenizer(tmp_path_factory.mktemp("tokens") / "fast"))


def test_the_published_vocabulary_gives_its_last_words_to_actions(folder: str) -> None:
    """The same words as π0-FAST's: token 0 is the last before those of segmentation."""
    chunk = np.sin(np.linspace(0, 3, 16)).reshape(8, 2)
    begin, *words, end = ActionAnswers(folder, PUBLISHED, PUBLISHED, 2).of(chunk)
    tokens = read_action_tokens(Path(folder), folder).encode(chunk)
    assert (begin, end) == (2, 1)
    assert words == [PUBLISHED - 1 - SKIPPED - token for token in tokens]


def test_a_vocabulary_that_is_smaller_than_the_actions_is_refused(folder: str) -> None:
    """Whether the text uses all of its words or not, and so is one without room beside these."""
    for words, known in ((448, 448), (448, 447), (600, 260)):
        with pytest.raises(ValueError, match=rf"no room beside the text's {known}: set network"):
            ActionAnswers(folder, words, known, None)
    ActionAnswers(folder, 449, 449, None)
    ActionAnswers(folder, 708, 260, None)

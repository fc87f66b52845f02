"""`ActionAnswers`: the actions of a chunk as words that a language model answers with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...policy.pi0.action_tokens import ActionTokens, read_action_tokens
from ...policy.pi0.fast_decoding import SKIPPED

END = 1
"""The word that ends an answer, `<eos>`."""


def words_beside(folder: str, known: int) -> int:
    """The least vocabulary in which FAST's tokens have words of their own beside the `known` of a
    text. Raises PolicyError for a tokenizer that cannot be used."""
    return len(read_action_tokens(Path(folder), folder).letters) + SKIPPED + known


class ActionAnswers:
    """The words of FAST's tokens, which are the last of a vocabulary of `words`, as π0-FAST has
    them. A text has the first `known` of these: they have to be others, unless they are all, as
    those of PaliGemma. Raises PolicyError for a tokenizer that cannot be used, and ValueError for
    one that does not fit."""

    def __init__(self, folder: str, words: int, known: int, begin: int | None) -> None:
        self._tokens: ActionTokens = read_action_tokens(Path(folder), folder)
        self._last = words - 1 - SKIPPED
        self._begin = END if begin is None else begin
        beside = len(self._tokens.letters) + SKIPPED + known
        # A text that uses the whole vocabulary, as PaliGemma's, shares FAST's words by design.
        needed = beside if known < words else beside - known + 1
        if needed > words:
            raise ValueError(
                f"action_tokenizer: {folder} has {len(self._tokens.letters)} tokens, for which a "
                f"vocabulary of {words} words has no room beside the text's {known}: set "
                f"network.words={beside}"
            )

    def of(self, chunk: NDArray[Any]) -> list[int]:
        """The answer for normalized actions [H, A], with the words that begin and end it."""
        return [self._begin, *(self._last - t for t in self._tokens.encode(chunk)), END]

    def padded(self, chunks: Sequence[NDArray[Any]], pad: int) -> NDArray[np.int64]:
        """The answers [b, n] for several chunks."""
        answers = [self.of(chunk) for chunk in chunks]
        lines = np.full((len(answers), max(map(len, answers))), pad, np.int64)
        for line, answer in zip(lines, answers, strict=True):
            line[: len(answer)] = answer
        return lines

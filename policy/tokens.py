"""Instructions as integers: a closed vocabulary of lower-case words.

The order of words is kept, and words after the first `length` are cut. A word that is not in the
vocabulary becomes <unk>, which occurs in training too, so that a "please" has little effect; so
does a colour that is not in the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

PAD, UNKNOWN = 0, 1
_RESERVED = ("<pad>", "<unk>")
_WORD = re.compile(r"[a-z0-9']+")


def words(task: str) -> list[str]:
    """The words of an instruction, lower-case, without punctuation."""
    return _WORD.findall(task.lower())


class Vocabulary:
    """Words and their numbers; 0 is padding and 1 an unknown word."""

    def __init__(self, known: Iterable[str]) -> None:
        self.words = tuple(w for w in dict.fromkeys(known) if w not in _RESERVED)
        self._number = {w: i for i, w in enumerate(self.words, start=len(_RESERVED))}

    @classmethod
    def of(cls, tasks: Iterable[str]) -> Vocabulary:
        """Every word of `tasks`, sorted so that the same tasks give the same numbers."""
        return cls(sorted({word for task in tasks for word in words(task)}))

    def __len__(self) -> int:
        return len(_RESERVED) + len(self.words)

    def numbered(self) -> tuple[str, ...]:
        """The words at their numbers, the reserved ones first."""
        return (*_RESERVED, *self.words)

    def encode(self, task: str, length: int) -> NDArray[np.int64]:
        """`task` as int64 [length], padded with 0."""
        tokens = np.full(length, PAD, dtype=np.int64)
        numbers = [self._number.get(w, UNKNOWN) for w in words(task)[:length]]
        tokens[: len(numbers)] = numbers
        return tokens

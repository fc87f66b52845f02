"""`PiSample`: one observation as the models take it, and the images and texts of several as arrays.
No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base import Observation


@dataclass(frozen=True)
class PiSample:
    """One of a batch.

    Attributes:
        asked: the observation that it was made of.
        images: uint8 [h, w, 3] by slot, of those that have a camera.
        tokens: of the prompt.
        state: [S], normalized and padded to the model's size.
        prefix: [P, A], the rest of the plan, likewise.
    """

    asked: Observation
    images: dict[str, NDArray[np.uint8]]
    tokens: list[int]
    state: NDArray[np.float32]
    prefix: NDArray[np.float32]


def views_of(samples: Sequence[PiSample]) -> list[NDArray[np.uint8]]:
    """The images of a batch [b, h, w, 3] by slot; all samples have the same slots."""
    return [np.stack([sample.images[slot] for sample in samples]) for slot in samples[0].images]


TEXT_UNIT = 32
"""Lengths of padded texts are multiples of so many tokens."""


def padded_length(samples: Sequence[PiSample], most: int) -> int:
    """That of the texts of a batch, of at most `most` tokens each: what is padded costs time, and
    few lengths are few shapes."""
    longest = max(len(sample.tokens) for sample in samples)
    return min(most, max(1, -(-longest // TEXT_UNIT)) * TEXT_UNIT)


def texts_of_batch(
    samples: Sequence[PiSample], length: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The tokens of a batch [b, length], with 0 behind those of each text, and which of them
    count [b, length]."""
    tokens = np.zeros((len(samples), length), np.int64)
    for row, sample in zip(tokens, samples, strict=True):
        row[: len(sample.tokens)] = sample.tokens
    lengths = np.array([len(sample.tokens) for sample in samples])
    return tokens, np.arange(length) < lengths[:, None]

"""A small π0 and π0.5, and inputs for them: the same on both sides of a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.policy.pi0.architecture import Architecture, Family, GemmaSizes, VisionSizes
from holdfast.tests.peers.key_weights import inputs_of

BATCH, ACTIONS, EULER_STEPS = 3, 5, 10
LENGTHS = (6, 11, 1)
"""Of the texts. The second view of the last sample does not count."""


def _small(family: Family) -> Architecture:
    return Architecture(
        family=family,
        vision=VisionSizes(width=32, layers=2, heads=4, mlp=48, pixels=42),
        language=GemmaSizes(width=64, mlp=96, layers=4, heads=4, head=16),
        expert=GemmaSizes(width=48, mlp=64, layers=4, heads=4, head=16),
        words=128,
        steps=10,
    )


SMALL: dict[str, Architecture] = {"pi0": _small("pi0"), "pi05": _small("pi05")}


def inputs(family: str) -> dict[str, NDArray[Any]]:
    """Two images, a text and a state for each sample, and noise."""
    small = SMALL[family]
    image = (BATCH, 3, small.vision.pixels, small.vision.pixels)
    given: dict[str, NDArray[Any]] = {
        **inputs_of(
            {
                "left": image,
                "right": image,
                "state": (BATCH, small.states),
                "noise": (BATCH, small.steps, small.actions),
            }
        )
    }
    given["tokens"] = np.random.default_rng(1).integers(1, small.words, (BATCH, max(LENGTHS)))
    given["token_counts"] = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    given["image_counts"] = np.array([[True, True], [True, True], [True, False]])
    return given

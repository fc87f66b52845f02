"""A small π0 and π0.5, and inputs for them: the same on both sides of a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.policy.pi0.architecture import Architecture
from holdfast.tests.peers.key_weights import inputs_of
from holdfast.tools.bench.pi_sizes import small

BATCH, ACTIONS, EULER_STEPS = 3, 5, 10
LENGTHS = (6, 11, 1)
"""Of the texts. The second view of the last sample does not count."""


SMALL: dict[str, Architecture] = {"pi0": small("pi0"), "pi05": small("pi05")}


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

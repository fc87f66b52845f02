"""A small π0 and π0.5, and inputs for them: the same on both sides of a comparison."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from holdfast.policy.pi0.architecture import Architecture, Family, GemmaSizes
from holdfast.tests.peers.key_weights import inputs_of
from holdfast.tools.bench.pi_sizes import small

BATCH, ACTIONS, EULER_STEPS = 3, 5, 10
LENGTHS = (6, 11, 1)
"""Of the texts. The second view of the last sample does not count."""


FAMILIES: tuple[Family, ...] = ("pi0", "pi05", "pi0_fast")
SMALL: dict[str, Architecture] = {family: small(family) for family in FAMILIES}


def _eight(sizes: GemmaSizes) -> GemmaSizes:
    return msgspec.structs.replace(sizes, heads=8)


TRAINED: dict[str, Architecture] = {
    family: msgspec.structs.replace(
        SMALL[family], language=_eight(SMALL[family].language), expert=_eight(SMALL[family].expert)
    )
    for family in ("pi0", "pi05")
}
"""With eight heads: the training passes of openpi and of LeRobot have no other number of them."""

BEGIN, END, DECODED = 2, 3, 6
"""Of π0-FAST: the words that begin a text and end an answer, and the words of a free choice."""

TASKS = ("Pick the red_parcel", " open the drawer\n", "")


def states() -> NDArray[np.float32]:
    """A state for each of TASKS, also beyond -1 and 1."""
    made: NDArray[np.float32] = inputs_of({"states": (len(TASKS), 4)})["states"]
    return made


def action_words() -> NDArray[np.int64]:
    """An answer of each sample, with the word that begins it."""
    made = np.random.default_rng(2).integers(1, SMALL["pi0_fast"].words, (BATCH, 9))
    made[:, 0] = BEGIN
    return made


def inputs(family: str) -> dict[str, NDArray[Any]]:
    """Two images, a text and a state for each sample, noise, and a chunk with the time of a
    training."""
    sizes = SMALL[family]
    image = (BATCH, 3, sizes.vision.pixels, sizes.vision.pixels)
    given: dict[str, NDArray[Any]] = {
        **inputs_of(
            {
                "left": image,
                "right": image,
                "state": (BATCH, sizes.states),
                "noise": (BATCH, sizes.steps, sizes.actions),
                "chunk": (BATCH, sizes.steps, sizes.actions),
            }
        )
    }
    given["tokens"] = np.random.default_rng(1).integers(1, sizes.words, (BATCH, max(LENGTHS)))
    given["token_counts"] = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    given["time"] = np.array([0.2, 0.7, 1.0], np.float32)
    given["image_counts"] = np.array([[True, True], [True, True], [True, False]])
    return given

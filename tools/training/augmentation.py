"""`augmented`: images as a training shows them, cropped, turned and recoloured at random.

Ranges and order are those of openpi (15a9616, `src/openpi/models/model.py` and
`models_pytorch/preprocessing_pytorch.py`, the colours of the latter). One thing differs: openpi
turns the crop, whose corners are black then; here they show the image as far as it reaches. A
service never does this.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

KEPT = 0.95
"""The part of each side that a crop leaves, at its full size again."""

TURN_DEG = 5.0
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.5
"""The most by which an image's factors differ from 1."""


def augmented(
    images: NDArray[np.uint8], rng: np.random.Generator, mine: slice, *, moves: bool
) -> NDArray[np.uint8]:
    """The images [b, h, w, 3] that are `mine`, each with changes of its own, which `rng` draws for
    all b. Without `moves`, as for a camera on a wrist, they are recoloured only."""
    count = len(images)
    shifts, degrees = rng.uniform(-1, 1, (count, 2)), rng.uniform(-TURN_DEG, TURN_DEG, count)
    factors = 1 + rng.uniform(-1, 1, (count, 3)) * (BRIGHTNESS, CONTRAST, SATURATION)
    made = []
    for image, shift, turn, factor in zip(
        images[mine], shifts[mine], degrees[mine], factors[mine], strict=True
    ):
        moved = _moved(image, shift, turn) if moves else image
        made.append(_recoloured(moved, *map(float, factor)))
    return np.stack(made)


def _moved(
    image: NDArray[np.uint8], shift: NDArray[np.float64], degrees: float
) -> NDArray[np.uint8]:
    """A crop, at the image's size and turned about its middle, in one interpolation. `shift` is
    where the crop lies, from -1 to 1 across and down."""
    height, width = image.shape[:2]
    middle = (np.array((width, height)) - 1) / 2
    there = cv2.getRotationMatrix2D((0.0, 0.0), degrees, KEPT)
    # From a pixel of the result to one of the image.
    offset = middle + shift * (1 - KEPT) / 2 * (width, height)
    there[:, 2] = offset - there[:, :2] @ middle
    turned = cv2.warpAffine(
        image, there, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(turned, np.uint8)


def _recoloured(
    image: NDArray[np.uint8], brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    """Brighter, then away from its mean, then each pixel away from its grey; at most to black and
    white."""
    # All three are linear in a pixel's colours.
    colours = np.full((3, 3), (1 - saturation) / 3) + saturation * np.eye(3)
    mean = brightness * float(image.mean())
    lift = np.full((3, 1), (1 - contrast) * mean)
    whole = np.hstack((brightness * contrast * colours, lift))
    return np.asarray(cv2.transform(image, whole), np.uint8)

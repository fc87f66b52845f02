"""How an image gets the policy's size: the ways that trainings use."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...policy.steps.resize_with_pad import resize_with_pad
from ...transport.images import Pixels, resize

Fit = Literal["stretch", "pad", "crop"]
FITS: dict[Fit, str] = {
    "stretch": "scaled to the policy's size, whatever their shape (as Holdfast deploys)",
    "pad": "scaled to fit and padded with black (as openpi trains)",
    "crop": "cropped at their centre to the policy's shape, then scaled",
}


def fitted(image: Pixels, width: int, height: int, fit: Fit) -> Pixels:
    """`image` at `width` × `height`."""
    if fit == "pad":
        return np.asarray(resize_with_pad(image, height, width), np.uint8)
    if fit == "crop":
        tall, wide = image.shape[:2]
        inner_height, inner_width = (
            min(tall, wide * height // width),
            min(wide, tall * width // height),
        )
        top, left = (tall - inner_height) // 2, (wide - inner_width) // 2
        image = np.ascontiguousarray(image[top : top + inner_height, left : left + inner_width])
    return resize(image, width, height)


def same_shape(image: Pixels, width: int, height: int) -> bool:
    """Whether all ways are the same for this image."""
    tall, wide = image.shape[:2]
    return int(tall) * width == int(wide) * height

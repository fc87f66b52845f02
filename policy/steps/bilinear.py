"""Bilinear resampling of images, to the byte what `Image.resize` of Pillow gives, up to 12.3.

Source: Pillow, `src/libImaging/Resample.c`. An output pixel is the mean of the input pixels under a
triangle that is as wide as the scale, at least two pixels (so that shrinking does not alias). Rows
are resampled first, then columns; weights are rounded to 22 binary places, and each pass rounds to
bytes.

Pillow 13 takes the columns of some images first: there values differ by 1. openpi's servers run
Pillow 11.2.1.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_PLACES = 22
"""Of a weight: 8 bits of a pixel and two spare ones remain of 32."""


def bilinear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """`image` [h, w, c] as [height, width, c]."""
    rows = _along(image.transpose(1, 0, 2), width).transpose(1, 0, 2)
    return _along(rows, height)


def _along(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """`image` with `size` entries along its first axis."""
    if len(image) == size:
        return image
    places, weights = _taps(len(image), size)
    total = np.full((size, *image.shape[1:]), 1 << (_PLACES - 1), np.int32)
    for place, weight in zip(places, weights, strict=True):
        total += image[place].astype(np.int32) * weight[:, None, None]
    return (total >> _PLACES).astype(np.uint8)


@lru_cache(maxsize=64)
def _taps(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """For each tap and each output pixel: an input pixel, and its weight, which is 0 where the
    triangle has fewer taps or reaches over the border."""
    scale = before / after
    reach = max(scale, 1.0)
    centre = (np.arange(after) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.intp), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.intp), before)
    places = first + np.arange(2 * math.ceil(reach) + 1)[:, None]
    distance = np.abs((places - centre + 0.5) * (1.0 / reach))
    weights = np.where((places < last) & (distance < 1.0), 1.0 - distance, 0.0)
    total = np.zeros(after)
    for each in weights:  # in Pillow's order of addition
        total += each
    fixed = np.floor(weights / total * (1 << _PLACES) + 0.5).astype(np.int32)
    return np.minimum(places, before - 1), fixed

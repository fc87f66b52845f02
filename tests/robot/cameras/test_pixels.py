"""Pixels of any camera become RGB, or are refused by what they are."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from holdfast.errors import RobotError
from holdfast.robot.cameras.pixels import PixelFormat, to_rgb

H, W = 4, 6
RGB = np.arange(H * W * 3, dtype=np.uint8).reshape(H, W, 3)
ALPHA = np.full((H, W, 1), 9, np.uint8)
FRAMES: dict[PixelFormat, NDArray[Any]] = {
    PixelFormat.RGB: RGB,
    PixelFormat.BGR: RGB[..., ::-1],
    PixelFormat.RGBA: np.concatenate([RGB, ALPHA], 2),
    PixelFormat.BGRA: np.concatenate([RGB[..., ::-1], ALPHA], 2),
}


def converted(pixels: NDArray[Any], format: PixelFormat, **options: Any) -> NDArray[np.uint8]:
    out = np.zeros((H, W, 3), np.uint8)
    to_rgb(np.ascontiguousarray(pixels), format, out, **options)
    return out


@pytest.mark.parametrize("format", FRAMES)
def test_colours_come_out_in_the_order_red_green_blue(format: PixelFormat) -> None:
    """Whatever the order of the camera's; alpha is dropped."""
    np.testing.assert_array_equal(converted(FRAMES[format], format), RGB)


@pytest.mark.parametrize("shape", [(H, W), (H, W, 1)])
def test_grey_is_the_same_in_all_three_channels(shape: tuple[int, ...]) -> None:
    """With and without an axis of channels."""
    grey = RGB[..., 0]
    np.testing.assert_array_equal(
        converted(grey.reshape(shape), PixelFormat.GRAY), np.repeat(grey[..., None], 3, 2)
    )


@given(
    depth=st.lists(st.integers(0, 65535), min_size=H * W, max_size=H * W),
    range_=st.tuples(st.integers(0, 65534), st.integers(1, 65535)).filter(lambda r: r[0] < r[1]),
)
def test_depth_rises_with_distance_and_is_black_only_where_nothing_was_measured(
    depth: list[int], range_: tuple[int, int]
) -> None:
    """Monotonic, 1 at near and 255 at far, 0 for a depth of 0 only."""
    pixels = np.array(depth, np.uint16).reshape(H, W)
    out = converted(pixels, PixelFormat.DEPTH, depth=range_)
    grey = out[..., 0].ravel()
    assert ((grey == 0) == (pixels.ravel() == 0)).all()
    order = np.argsort(pixels, axis=None)
    assert (np.diff(grey[order].astype(int)) >= 0).all()
    measured = pixels.ravel() > 0
    assert (grey[measured & (pixels.ravel() <= range_[0])] == 1).all()
    assert (grey[measured & (pixels.ravel() >= range_[1])] == 255).all()


@pytest.mark.parametrize(
    ("pixels", "format", "expected"),
    [
        (RGB[:2], "rgb", "has 6 x 2 pixels, expected 6 x 4"),
        (FRAMES[PixelFormat.BGRA], "bgr", "4 channels of uint8, expected 3"),
        (FRAMES[PixelFormat.BGRA], "bgr", "set `format` to rgba or bgra"),
        (RGB[..., 0], "bgr", "set `format` to gray"),
        (RGB[..., 0].astype(np.uint16), "gray", "set `format` to depth"),
        (RGB[..., :2], "bgr", "no format has such pixels"),
        (RGB.astype(np.float32), "rgb", "3 channels of float32"),
        (RGB[..., 0].astype(np.uint16), "depth", "depth_range: [near, far]"),
        (RGB[0, 0], "rgb", "an array [3]"),
        (RGB[None], "rgb", "an array [1, 4, 6, 3]"),
    ],
)
def test_pixels_that_do_not_fit_are_refused_by_what_they_are(
    pixels: NDArray[Any], format: str, expected: str
) -> None:
    """The message says what would fit."""
    with pytest.raises(RobotError, match=re.escape(expected)):
        converted(pixels, PixelFormat(format))

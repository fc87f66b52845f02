"""`to_rgb`: the pixels of a camera, whatever their format, as the RGB that policies see."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError


class PixelFormat(StrEnum):
    """What an array of pixels holds: uint8 [H, W, 3] or [H, W, 4], uint8 [H, W] or [H, W, 1] for
    GRAY, uint16 [H, W] or [H, W, 1] for DEPTH."""

    RGB = "rgb"
    BGR = "bgr"
    RGBA = "rgba"
    BGRA = "bgra"
    GRAY = "gray"
    DEPTH = "depth"


_CODES = {
    PixelFormat.BGR: cv2.COLOR_BGR2RGB,
    PixelFormat.RGBA: cv2.COLOR_RGBA2RGB,
    PixelFormat.BGRA: cv2.COLOR_BGRA2RGB,
    PixelFormat.GRAY: cv2.COLOR_GRAY2RGB,
}
_CHANNELS = {
    PixelFormat.RGB: 3,
    PixelFormat.BGR: 3,
    PixelFormat.RGBA: 4,
    PixelFormat.BGRA: 4,
    PixelFormat.GRAY: 1,
    PixelFormat.DEPTH: 1,
}
DepthRange = tuple[float, float]
"""(near, far) in the device's units of depth: a RealSense camera counts millimetres."""


def to_rgb(
    pixels: NDArray[Any],
    format: PixelFormat,
    out: NDArray[np.uint8],
    depth: DepthRange | None = None,
) -> None:
    """Write `pixels`, which have the given `format`, to `out` [H, W, 3] RGB.

    Depth becomes grey: 1 at `near` and below, 255 at `far` and above, linear between them, and 0
    where nothing was measured (a depth of 0). Alpha is dropped.

    Raises RobotError for pixels of another size, type or number of channels, naming them, and for
    depth without a range.
    """
    if pixels.ndim not in (2, 3):
        raise RobotError(f"the frame is an array {list(pixels.shape)}, expected an image [H, W, C]")
    size, expected = pixels.shape[:2], out.shape[:2]
    if size != expected:
        raise RobotError(
            f"the frame has {size[1]} x {size[0]} pixels, expected {expected[1]} x {expected[0]}: "
            "set width and height to what the camera delivers"
        )
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    dtype = np.uint16 if format is PixelFormat.DEPTH else np.uint8
    if channels != _CHANNELS[format] or pixels.dtype != dtype:
        raise RobotError(
            f"the frame has {channels} channels of {pixels.dtype}, expected {_CHANNELS[format]} of "
            f"{np.dtype(dtype)} ({format.value}): set `format` to {_fitting(pixels, channels)}"
        )
    if format is PixelFormat.RGB:
        np.copyto(out, pixels)
    elif format is PixelFormat.DEPTH:
        if depth is None:
            raise RobotError("depth needs its range: set `depth_range: [near, far]`")
        flat = pixels.reshape(pixels.shape[:2])
        out[:] = _grey_of(*depth)[flat][..., None]
    else:
        cv2.cvtColor(pixels, _CODES[format], dst=out)


@lru_cache(maxsize=4)
def _grey_of(near: float, far: float) -> NDArray[np.uint8]:
    """The grey of each depth [65536]."""
    share = (np.arange(65536) - near) / (far - near)
    grey: NDArray[np.uint8] = np.round(1 + 254 * np.clip(share, 0, 1)).astype(np.uint8)
    grey[0] = 0
    return grey


def _fitting(pixels: NDArray[Any], channels: int) -> str:
    """The formats that such pixels may have, for a message."""
    fitting = [
        format.value
        for format in PixelFormat
        if _CHANNELS[format] == channels
        and pixels.dtype == (np.uint16 if format is PixelFormat.DEPTH else np.uint8)
    ]
    return " or ".join(fitting) or "none: no format has such pixels"

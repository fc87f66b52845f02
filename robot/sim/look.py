"""What the cell's surfaces, its light and its cameras' noise look like, drawn once and kept.

Everything here is made from fixed seeds: two processes see the same belt. Colours are RGB.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .cell import BELT_HALF_WIDTH, BIN_HALF_X, BIN_HALF_Y, BIN_X

Image = NDArray[np.uint8]

TEXELS = 685.0
"""Pixels per metre of the drawn ground: those of an overhead picture 640 wide."""

HALF_X, HALF_Y = 0.76, 0.66
"""The ground is drawn so far from the centre; cameras never look farther."""

BELT_PERIOD = 480
"""Rows after which the belt's pattern repeats."""

LIGHTS = 8
PARCEL_RGB = ((196, 48, 40), (44, 146, 62), (40, 82, 186), (222, 184, 38))

Colour = tuple[int, int, int]


def _texel(x: float, y: float) -> tuple[int, int]:
    return round((x + HALF_X) * TEXELS), round((HALF_Y - y) * TEXELS)


def _grain(rng: np.random.Generator, height: int, width: int, blur: float) -> NDArray[np.float32]:
    """Smooth random relief of unit deviation."""
    relief = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), blur)
    return np.asarray(relief / relief.std(), np.float32)


def _tint(base: Colour, relief: NDArray[np.float32], depth: float) -> Image:
    image = np.array(base, np.float32) + depth * relief[..., None]
    return np.asarray(np.clip(image, 0, 255), np.uint8)


@cache
def ground() -> Image:
    """The table with its bins and clutter, uint8 [rows, columns, 3]; the belt comes on top."""
    rng = np.random.default_rng(1)
    height, width = round(2 * HALF_Y * TEXELS), round(2 * HALF_X * TEXELS)
    relief = _grain(rng, height, width, 1.2) + 1.6 * _grain(rng, height, width, 18)
    image = _tint((142, 132, 118), relief, 6.0)
    for _ in range(90):  # screws, crumbs and shreds, some in a parcel's colour
        at = int(rng.integers(width)), int(rng.integers(height))
        rgb = PARCEL_RGB[rng.integers(4)] if rng.random() < 0.4 else (70, 66, 60)
        cv2.circle(image, at, int(rng.integers(1, 4)), rgb, -1)
    for side in BIN_X:
        _bin(image, side, rng)
    edge = BELT_HALF_WIDTH + 0.012
    for side in (-edge, edge):
        x, _ = _texel(side, 0.0)
        cv2.rectangle(image, (x - 8, 0), (x + 8, height), (88, 92, 98), -1)
        cv2.line(image, (x - 3, 0), (x - 3, height), (150, 155, 160), 2)
    image.setflags(write=False)
    return image


def _bin(image: Image, x: float, rng: np.random.Generator) -> None:
    """An open box seen from above: a rim, a darker floor, a ribbed wall."""
    wall = 0.014
    outer = [_texel(x + sx * (BIN_HALF_X + wall), sy * (BIN_HALF_Y + wall)) for sx, sy in _CORNERS]
    inner = [_texel(x + sx * BIN_HALF_X, sy * BIN_HALF_Y) for sx, sy in _CORNERS]
    cv2.rectangle(image, outer[0], outer[2], (176, 170, 160), -1)
    cv2.rectangle(image, inner[0], inner[2], (74, 66, 58), -1)
    (left, top), (right, bottom) = inner[0], inner[2]
    floor = image[top:bottom, left:right]
    relief = 5.0 * _grain(rng, bottom - top, right - left, 1.0)
    np.copyto(floor, np.clip(floor + relief[..., None], 0, 255).astype(np.uint8))
    for row in range(top + 12, bottom, 24):
        cv2.line(image, (left, row), (right, row), (86, 78, 68), 2)


_CORNERS = ((-1, 1), (1, 1), (1, -1), (-1, -1))


@cache
def belt() -> Image:
    """Dark rubber with ribs, arrows, scuffs and scraps, twice its period and the ground's height
    long, so that any window of it is one slice."""
    rng = np.random.default_rng(2)
    height = BELT_PERIOD
    left, _ = _texel(-BELT_HALF_WIDTH, 0)
    right, _ = _texel(BELT_HALF_WIDTH, 0)
    width = right - left
    relief = np.tile(_grain(rng, height, width, 1.0), (3, 1))
    relief += np.tile(1.5 * _grain(rng, height, width, 9), (3, 1))
    image = _tint((62, 64, 68), relief[height : 2 * height], 5.0)
    for row in range(0, height, 30):
        cv2.line(image, (0, row), (width, row), (50, 52, 56), 2)
    for row in range(40, height, 120):
        arrow = np.array([[width // 2 - 14, row], [width // 2, row + 16], [width // 2 + 14, row]])
        cv2.polylines(image, [arrow], isClosed=False, color=(96, 98, 100), thickness=3)
    for _ in range(40):
        at = int(rng.integers(width)), int(rng.integers(6, height - 6))
        rgb = PARCEL_RGB[rng.integers(4)] if rng.random() < 0.5 else (120, 116, 104)
        cv2.circle(image, at, int(rng.integers(1, 4)), rgb, -1)
    rows = ground().shape[0] + height
    tall: Image = np.tile(image, (rows // height + 1, 1, 1))[:rows]
    tall.setflags(write=False)
    return tall


@cache
def light(index: int, width: int, height: int) -> Image:
    """How bright each pixel is lit, 128 as drawn: a soft spot, a tint and a falling-off."""
    rng = np.random.default_rng((3, index))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width - 0.5, y / height - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0.1, 0.4) * (x * np.cos(angle) + y * np.sin(angle))
    at = rng.uniform(-0.5, 0.5, 2)
    spot = rng.uniform(0.0, 0.35) * np.exp(-8 * ((x - at[0]) ** 2 + (y - at[1]) ** 2))
    bright = rng.uniform(0.85, 1.1) + slope + spot - 0.25 * (x**2 + y**2)
    tint = 1.0 + rng.uniform(-0.06, 0.06, 3)
    image: Image = np.clip(128 * bright[..., None] * tint, 40, 255).astype(np.uint8)
    image.setflags(write=False)
    return image


NOISE_MARGIN = 96


@cache
def noise(width: int, height: int) -> Image:
    """Sensor noise around 128, larger than a picture by `NOISE_MARGIN`: each frame takes another
    window of it."""
    rng = np.random.default_rng(4)
    shape = height + NOISE_MARGIN, width + NOISE_MARGIN
    image = 128 + 5.0 * rng.standard_normal((*shape, 3)) + 3.0 * rng.standard_normal((*shape, 1))
    dust = rng.random(shape) < 2e-4
    image[dust] += rng.choice([-50.0, 50.0], (int(dust.sum()), 1))
    tile: Image = np.clip(image, 0, 255).astype(np.uint8)
    tile.setflags(write=False)
    return tile

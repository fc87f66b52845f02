"""The cell's two cameras, drawn with OpenCV from a scene.

`overhead` hangs above the belt and sees all of it and both bins; `wrist` rides on the gantry, looks
down past the fingers, and sees less the lower it is. Both are pinholes. The same scene, camera and
frame number give the same picture; another frame number gives other sensor noise.

It uses as many threads as OpenCV is set to: a process that shares its cores calls
`cv2.setNumThreads(1)` first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from . import look
from .arm import DT, OPENING
from .cell import BELT_HALF_WIDTH, PARCEL_HEIGHT, PARCEL_LENGTH, PARCEL_WIDTH, place_of
from .look import TEXELS, Colour, Image
from .scene import Scene, unpack

CAMERAS = ("overhead", "wrist")

_OVERHEAD_HEIGHT = 1.6
_WRIST_ABOVE, _WRIST_WIDTH = 0.30, 0.28
_SHADOW = (0.35, -0.30)
"""Where a shadow falls, per metre of height."""

_LIGHT_S = 8.0
_FINGER_LENGTH, _FINGER_WIDTH, _FINGER_TALL = 0.030, 0.012, 0.09
_STEEL: Colour = (186, 190, 196)
_DARK_STEEL: Colour = (112, 116, 124)
_BEAM_HEIGHT, _BEAM_AHEAD = 0.20, 0.085
"""The beam runs downstream of the fingers, so that it hides what has passed, not what comes."""


Points = NDArray[np.float64]


@dataclass(frozen=True)
class _Pinhole:
    """A camera that looks straight down from `height`; `focal` is pixels x metres per metre."""

    x: float
    y: float
    height: float
    focal: float
    width_px: int
    height_px: int

    def pixels(self, points: Points, above: float) -> Points:
        """Pixel coordinates [n, 2] of `points` [n, 2] at one height above the belt."""
        scale = self.focal / (self.height - above)
        out = (points - (self.x, self.y)) * (scale, -scale)
        out += (self.width_px / 2, self.height_px / 2)
        return out


def draw(
    camera_name: str, scene: bytes | memoryview, width: int = 640, height: int = 480, frame: int = 0
) -> Image:
    """The picture of `scene` (as `ConveyorCell.scene` packs it) by `camera_name`, uint8
    [height, width, 3] RGB. Raises RobotError for an unknown camera or a block that is no scene."""
    return draw_scene(camera_name, unpack(scene), width, height, frame)


def draw_scene(
    camera_name: str, scene: Scene, width: int = 640, height: int = 480, frame: int = 0
) -> Image:
    """As `draw`, of an unpacked scene."""
    camera = _camera(camera_name, scene, width, height)
    image = _ground(camera, scene)
    _parcels(image, camera, scene)
    _arm(image, camera, scene, whole=camera_name == "overhead")
    return _exposed(image, scene, CAMERAS.index(camera_name), frame)


def sight(camera_name: str, scene: Scene, index: int) -> tuple[float, float]:
    """Where the middle of parcel `index`'s top is in the picture: -1 is the left (upper) edge and 1
    the right (lower) one; beyond them it is out of sight. What stands before it is not considered.
    """
    camera = _camera(camera_name, scene, 640, 480)
    under = max(scene.position[2] - 0.012, 0.0) if index == scene.held else 0.0
    x, y, _ = place_of(scene, index)
    ((u, v),) = camera.pixels(np.array([(x, y)]), under + PARCEL_HEIGHT) / (320.0, 240.0) - 1.0
    return float(u), float(v)


def _camera(name: str, scene: Scene, width: int, height: int) -> _Pinhole:
    if name == "overhead":
        focal = TEXELS * width / 640 * _OVERHEAD_HEIGHT
        return _Pinhole(0.0, 0.0, _OVERHEAD_HEIGHT, focal, width, height)
    if name == "wrist":
        x, y, z, _, _ = scene.position
        focal = width / _WRIST_WIDTH * _WRIST_ABOVE
        return _Pinhole(x, y, z + _WRIST_ABOVE, focal, width, height)
    raise RobotError(
        f"the simulator has no camera {name!r}; it has {', '.join(CAMERAS)}: "
        "name one of these in fleet.yaml"
    )


def _ground(camera: _Pinhole, scene: Scene) -> Image:
    """Table, bins and the belt at its present travel, as the camera sees them."""
    zoom = camera.focal / camera.height / TEXELS
    wide, tall = camera.width_px / zoom, camera.height_px / zoom
    left = (camera.x + look.HALF_X) * TEXELS - wide / 2
    top = (look.HALF_Y - camera.y) * TEXELS - tall / 2
    column, row = math.floor(left), math.floor(top)
    columns, rows = math.ceil(wide) + 2, math.ceil(tall) + 2
    table = look.ground()
    patch = table[row : row + rows, column : column + columns].copy()
    rubber = look.belt()
    first = round((look.HALF_X - BELT_HALF_WIDTH) * TEXELS)
    a, b = max(first, column), min(first + rubber.shape[1], column + patch.shape[1])
    if a < b:
        # The belt runs down the picture: its pattern is read from farther up as it travels.
        start = row + (-int(scene.travel * TEXELS)) % look.BELT_PERIOD
        strip = rubber[start : start + patch.shape[0], a - first : b - first]
        patch[:, a - column : b - column] = strip
    if abs(zoom - 1.0) > 1e-9:
        size = round(patch.shape[1] * zoom), round(patch.shape[0] * zoom)
        patch = np.asarray(cv2.resize(patch, size), np.uint8)
    x, y = round((left - column) * zoom), round((top - row) * zoom)
    return np.ascontiguousarray(patch[y : y + camera.height_px, x : x + camera.width_px])


def _parcels(image: Image, camera: _Pinhole, scene: Scene) -> None:
    for index, parcel in enumerate(scene.parcels):
        if index == scene.held:
            continue
        place = place_of(scene, index)
        _shadow(image, camera, place, 0.0)
        _parcel(image, camera, place, 0.0, _rgb(scene, parcel.colour))
    if scene.held >= 0:
        place, under = place_of(scene, scene.held), max(scene.position[2] - 0.012, 0.0)
        _shadow(image, camera, place, under)
        rgb = _rgb(scene, scene.parcels[scene.held].colour)
        _parcel(image, camera, place, under, rgb)


def _rgb(scene: Scene, colour: int) -> Colour:
    """A parcel's colour, a little lighter or darker from one parcel to the next."""
    shade = 0.85 + 0.3 * _chance(scene.seed, scene.episode, colour)
    r, g, b = look.PARCEL_RGB[colour]
    return min(int(r * shade), 255), min(int(g * shade), 255), min(int(b * shade), 255)


def _parcel(
    image: Image, camera: _Pinhole, place: tuple[float, float, float], under: float, rgb: Colour
) -> None:
    """A box with a label and tape, its underside at height `under`."""
    top = under + PARCEL_HEIGHT
    outline = _box(place, PARCEL_WIDTH / 2, PARCEL_LENGTH / 2)
    upper = camera.pixels(outline, top)
    body = np.vstack((camera.pixels(outline, under), upper)).astype(np.float32)
    _fill(image, cv2.convexHull(body)[:, 0], _dim(rgb, 0.55))
    _fill(image, upper, rgb)
    tape = _box(place, 0.005, PARCEL_LENGTH / 2)
    _fill(image, camera.pixels(tape, top), _dim(rgb, 0.78))
    label = _box(place, 0.013, 0.009, along=0.017)
    _fill(image, camera.pixels(label, top), (232, 230, 222))
    bars = _box(place, 0.009, 0.0025, along=0.017)
    _fill(image, camera.pixels(bars, top), (60, 60, 60))


def _shadow(
    image: Image, camera: _Pinhole, place: tuple[float, float, float], under: float
) -> None:
    """Darken what lies under a box; only the pixels around it are touched."""
    x, y, yaw = place
    reach = under + PARCEL_HEIGHT
    cast = x + _SHADOW[0] * reach, y + _SHADOW[1] * reach, yaw
    points = camera.pixels(_box(cast, PARCEL_WIDTH / 2, PARCEL_LENGTH / 2), 0.0)
    low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, (image.shape[1], image.shape[0]))
    if (low >= high).any():
        return
    patch = image[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(patch.shape[:2], np.uint8)
    _fill(mask, points - low, (255, 255, 255))
    cv2.copyTo(cv2.convertScaleAbs(patch, alpha=0.6), mask, patch)


def _arm(image: Image, camera: _Pinhole, scene: Scene, whole: bool) -> None:
    """Fingers, and for a camera that is not itself mounted on it, the gantry above them."""
    x, y, z, wrist, gripper = scene.position
    across = np.array((math.cos(wrist), math.sin(wrist)))
    reach = (OPENING * gripper + _FINGER_WIDTH) / 2
    for side in (-1.0, 1.0):
        at = np.array((x, y)) + side * reach * across
        finger = _box((at[0], at[1], wrist), _FINGER_WIDTH / 2, _FINGER_LENGTH / 2)
        foot = camera.pixels(finger, z)
        # The wrist camera looks past the fingers at their tips: it sees them end on.
        head = camera.pixels(finger, z + (_FINGER_TALL if whole else 0.03))
        _fill(image, cv2.convexHull(np.vstack((foot, head)).astype(np.float32))[:, 0], _DARK_STEEL)
        _fill(image, head if whole else foot, _STEEL)
    if not whole:
        return
    palm = _box((x, y, wrist), OPENING / 2 + 0.014, 0.008)
    _fill(image, camera.pixels(palm, z + _FINGER_TALL), (70, 74, 82))
    beam = _box((0.0, y - _BEAM_AHEAD, 0.0), 0.6, 0.010)
    _fill(image, camera.pixels(beam, _BEAM_HEIGHT), (132, 138, 146))
    link = _box((x, y - _BEAM_AHEAD / 2, 0.0), 0.008, _BEAM_AHEAD / 2)
    _fill(image, camera.pixels(link, z + 0.10), (92, 96, 104))
    carriage = _box((x, y - _BEAM_AHEAD, 0.0), 0.022, 0.016)
    _fill(image, camera.pixels(carriage, _BEAM_HEIGHT), (52, 56, 64))


def _exposed(image: Image, scene: Scene, camera: int, frame: int) -> Image:
    """Under the light of the moment and through the sensor. The light wanders between settings."""
    height, width = image.shape[:2]
    when = scene.steps * DT / _LIGHT_S + _chance(scene.seed, 7)
    span = math.floor(when)
    fade = when - span
    now, later = (
        look.light(int(look.LIGHTS * _chance(scene.seed, span + i, 11 + camera)), width, height)
        for i in (0, 1)
    )
    lit = cv2.addWeighted(now, 1.0 - fade, later, fade, 0.0)
    cv2.multiply(image, lit, image, 1.0 / 128)
    x = int(look.NOISE_MARGIN * _chance(scene.seed, frame, 13 + camera))
    y = int(look.NOISE_MARGIN * _chance(scene.seed, frame, 17 + camera))
    grains = look.noise(width, height)[y : y + height, x : x + width]
    cv2.addWeighted(image, 1.0, grains, 1.0, -128.0, image)
    return image


def _box(
    place: tuple[float, float, float], half_across: float, half_along: float, along: float = 0.0
) -> Points:
    """Corners [4, 2] of a rectangle around `place` (x, y, yaw), shifted `along` its length."""
    x, y, yaw = place
    c, s = math.cos(yaw), math.sin(yaw)
    a, low, high = half_across, along - half_along, along + half_along
    corners = ((-a, low), (a, low), (a, high), (-a, high))
    return np.array([(x + u * c - v * s, y + u * s + v * c) for u, v in corners])


def _fill(image: Image, points: NDArray[Any], rgb: Colour) -> None:
    """A convex polygon, to a sixteenth of a pixel."""
    # OpenCV counts from pixel centres.
    fixed = np.round((np.asarray(points, np.float64) - 0.5) * 16).astype(np.int32)
    cv2.fillConvexPoly(image, fixed, rgb, cv2.LINE_8, 4)


def _dim(rgb: Colour, share: float) -> Colour:
    return int(rgb[0] * share), int(rgb[1] * share), int(rgb[2] * share)


def _chance(*key: int) -> float:
    """A number in [0, 1) that depends on `key` alone; cheaper than a generator per frame."""
    h = 0x9E3779B97F4A7C15
    for part in key:
        h = (h ^ (part & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        h ^= h >> 31
    return (h >> 11) / (1 << 53)

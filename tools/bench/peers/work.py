"""The work that every peer is given: three 640x480 RGB images and 14 joints, for 50 steps of them.

The actions are a function of the observation, so that an answer to another request, mixed-up
cameras and damaged pixels are all seen: each joint's value differs from request to request, and
each camera's picture has a mark of its own in its corner. The marks survive JPEG.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARKS = {"left": 32, "right": 96, "wrist": 160}
"""By camera: the grey of its corner."""

CAMERAS = tuple(MARKS)
WIDTH, HEIGHT, JOINTS, STEPS = 640, 480, 14, 50
TASK = "put the red parcel in the left bin"
_CORNER, _STEP = 16, 16
_TOLERANCE = 1e-5
_STEPS_RISE = (np.arange(STEPS, dtype=np.float32) / 64)[:, None]


def marked(name: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` with the mark of the camera `name`, in place."""
    image[:_CORNER, :_CORNER] = MARKS[name]
    return image


def images() -> dict[str, NDArray[np.uint8]]:
    """What the cameras see, [480, 640, 3]. Noise: what only copies it cares not."""
    rng = np.random.default_rng(0)
    shape = (HEIGHT, WIDTH, 3)
    return {name: marked(name, rng.integers(0, 256, shape, dtype=np.uint8)) for name in CAMERAS}


def state(number: int) -> NDArray[np.float32]:
    """The joints of the request of that number, [14], within -1 to 1; another a thousand on."""
    return np.array([(number * 7 + joint) % 1000 / 1000 for joint in range(JOINTS)], np.float32)


def actions(joints: NDArray[np.float32], corners: Mapping[str, float]) -> NDArray[np.float32]:
    """The policy: [50, 14] of the joints [14] and the value, 0 to 255, of each camera's corner."""
    seen = sum(
        (weight + 1) * round(corners[name] / _STEP) * _STEP for weight, name in enumerate(CAMERAS)
    )
    return (joints + _STEPS_RISE + np.float32(seen / 4096)).astype(np.float32, copy=False)


def corner(image: Any) -> float:
    """The value of a picture's corner, [height, width, 3]."""
    return float(image[_CORNER // 2, _CORNER // 2, 0])


def check(number: int, got: Any) -> None:
    """Raise ValueError unless `got` is the end of the chunk of the request of that number: the
    whole of it, or what is left after its first few steps."""
    chunk = np.asarray(got)
    expected = actions(state(number), MARKS)[-len(chunk) :]
    if not STEPS - 5 <= len(chunk) <= STEPS or chunk.shape != expected.shape:
        raise ValueError(f"request {number} was answered by {chunk.shape}, not {(STEPS, JOINTS)}")
    if chunk.dtype != np.float32 or not np.allclose(chunk, expected, atol=_TOLERANCE):
        raise ValueError(
            f"request {number} was answered by other actions: {chunk[0, :3]} of {chunk.dtype}, "
            f"not {expected[0, :3]}: the answer to another request, or damaged pictures"
        )

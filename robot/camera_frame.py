"""`copy_frame`: the picture of a driver's own camera, which has the size that it has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import RobotError


def copy_frame(frame: NDArray[np.uint8], out: NDArray[np.uint8], camera: str, has: str) -> None:
    """Copy `frame` [h, w, 3] to `out` [height, width, 3]. Raises RobotError that names both sizes
    where they differ: `camera` `has` the former, the fleet file says the latter."""
    if frame.shape != out.shape:
        height, width = frame.shape[:2]
        raise RobotError(
            f"camera {camera} {has} {width}x{height}, the fleet file says "
            f"{out.shape[1]}x{out.shape[0]}: write `width: {width}, height: {height}` there"
        )
    np.copyto(out, frame)

"""A camera by the name of its driver: a built-in one, or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...errors import RobotError
from ...robot.cameras.base import Camera
from ..runtime.user_code import construct, load, with_defaults

BUILT_IN = {"lerobot": "holdfast.robot.lerobot.camera:LeRobotCamera"}
"""The module and class of each built-in driver that is called as the user's own is."""


def create(
    driver: str,
    options: Mapping[str, Any],
    width: int,
    height: int,
    fps: float,
    import_path: str | None = None,
) -> Camera:
    """The camera that `driver` means, not yet open, which touches no hardware. `import_path` is the
    directory where a user's module is looked for. Raises RobotError when it cannot be made, or is
    no camera."""
    if driver == "opencv":
        from ...robot.cameras.opencv_camera import OpenCVCamera
        from ...robot.cameras.source import OpenCVOptions

        return OpenCVCamera.of(msgspec.convert(dict(options), OpenCVOptions), width, height, fps)
    make = load(driver, BUILT_IN, import_path, "camera driver")
    size = {"width": width, "height": height, "fps": fps}
    if twice := sorted(size.keys() & options.keys()):
        raise RobotError(
            f"{', '.join(twice)} cannot be an option: it stands in the camera's own entry, which "
            "hands it on; remove it here"
        )
    given = {**size, **options}
    made = construct(driver, make, Camera, given, "open")
    camera: Camera = with_defaults(driver, made, Camera, ("open", "read"))
    own = getattr(camera, "width", None), getattr(camera, "height", None)
    if own != (width, height):
        raise RobotError(
            f"{driver}: its width and height are {own[0]} and {own[1]}, expected those that it was "
            f"made with, {width} and {height}"
        )
    return camera

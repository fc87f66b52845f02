"""The options of LeRobot's cameras."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..cameras.source import PixelOptions


class LeRobotCameraOptions(PixelOptions, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Of a camera that the LeRobot library reads: its `type`, what becomes of its pixels, and the
    fields of the library's own configuration class, which checks them."""

    type: Annotated[
        str, Meta(description="as the library registers it, e.g. opencv or intelrealsense")
    ]
    set_size: Annotated[
        bool, Meta(description="whether the device is asked for the width, height and fps")
    ] = True

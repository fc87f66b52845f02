"""Calibrate a LeRobot robot by the library's own procedure, at the terminal.

The torque goes off, and the procedure waits for a person: only for a robot that nothing drives.
"""

from __future__ import annotations

from typing import Any

from . import library


def calibrate(**options: Any) -> None:
    """What the library's `lerobot-calibrate` does, for the robot of these `options`. Raises
    RobotError when it fails."""
    device = library.make(library.ROBOTS, options)
    with library.said(f"{device.id} ({options.get('type')})"):
        device.connect(calibrate=False)
        try:
            device.calibrate()
        finally:
            device.disconnect()

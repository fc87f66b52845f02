"""Calibrate a LeRobot robot by the library's own procedure, at the terminal.

    python -m holdfast.robot.lerobot.calibrate '{"type": "so101_follower", "port": ..., "id": ...}'

The torque goes off, and the procedure waits for a person: only for a robot that nothing drives.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from ...errors import RobotError
from . import library


def hand_over(options: Mapping[str, Any], python: str | None = None) -> int:
    """Run the procedure for the robot of `options` in the interpreter `python` (None: this one), at
    the caller's terminal; its exit status. The caller sees to it that nothing drives the robot."""
    command = [python or sys.executable, "-P", "-m", "holdfast.robot.lerobot.calibrate"]
    return subprocess.run([*command, json.dumps(dict(options))], check=False).returncode


def calibrate(options: Mapping[str, Any]) -> None:
    """What the library's `lerobot-calibrate` does. Raises RobotError when it fails."""
    device = library.make(library.ROBOTS, options)
    with library.said(f"{device.id} ({options.get('type')})"):
        device.connect(calibrate=False)
        try:
            device.calibrate()
        finally:
            device.disconnect()


def main(arguments: list[str]) -> int:
    try:
        calibrate(json.loads(arguments[0]))
    except RobotError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

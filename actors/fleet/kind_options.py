"""The `options:` of every kind: which struct types them, and what is wrong with those in a file.

Each struct stands beside the driver, camera or policy that it configures; the running actor
converts its options to the same one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ...errors import Fault
from ...policy.base import PolicySpec
from .yaml_errors import mismatches_within


def of_robot(driver: str) -> type[msgspec.Struct] | None:
    """The options of a robot with this driver; None for a driver that does not exist."""
    from ...robot.sim.devices import SimOptions

    return {"sim": SimOptions}.get(driver)


def of_camera(driver: str) -> type[msgspec.Struct] | None:
    """The options of a camera with this driver."""
    if driver == "opencv":
        from ...robot.cameras.source import OpenCVOptions

        return OpenCVOptions
    if driver == "lerobot":
        from ...robot.lerobot.camera_options import LeRobotCameraOptions

        return LeRobotCameraOptions
    if driver == "sim":
        from ...robot.sim.devices import SimCameraOptions

        return SimCameraOptions
    return None


def faults(
    path: str, given: dict[str, Any], struct: type[msgspec.Struct], spec: PolicySpec | None = None
) -> Iterator[Fault]:
    """What is wrong with the options `given` at `path`: unknown, of another type, impossible, or
    without effect. `spec` is the policy's, where they are a policy's."""
    wrong = list(mismatches_within(path, given, struct))
    yield from wrong
    if wrong:
        return
    typed: Any = msgspec.convert(given, struct)
    conflicts: Iterator[Fault] = typed.conflicts() if spec is None else typed.conflicts(spec)
    for fault in conflicts:
        yield fault.within(path)

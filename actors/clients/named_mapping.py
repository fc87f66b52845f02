"""A mapping by the name of an embodiment: `mapping: droid` in fleet.yaml. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...policy.base import PolicySpec
from ...policy.steps import RobotKeys
from ..runtime.client_configs import ObservationMapping
from .observation_mapping import bare


def mapping_of(robot: RobotKeys, spec: PolicySpec) -> ObservationMapping:
    """Where the observations of such robots' clients hold what a policy of `spec` takes. Cameras
    that they do not have are left away."""
    found = {camera.name: key_of(robot, camera.name) for camera in spec.cameras}
    return ObservationMapping(
        cameras={name: key for name, key in found.items() if key is not None},
        state=tuple(robot.state),
        prompt=robot.prompt or None,
        pad=True,
    )


def key_of(robot: RobotKeys, name: str) -> str | None:
    """The key of the camera that a policy calls `name`: as the robot's clients or openpi's models
    do, or so but for the word `image`."""
    camera = robot.camera_of(name)
    if camera is None:
        alike = [each for each in robot.cameras if bare(each) and bare(each) == bare(name)]
        camera = alike[0] if len(alike) == 1 else None
    return None if camera is None else robot.cameras[camera]


def misfits(robot: RobotKeys, spec: PolicySpec) -> Iterator[str]:
    """Why a policy of `spec` cannot serve such robots' clients."""
    for what, have, want in (
        ("values of state", robot.state_names, spec.state_names),
        ("actions", robot.action_names, spec.action_names),
    ):
        if len(have) != len(want):
            yield (
                f"clients of {robot.name} have {len(have)} {what} ({', '.join(have)}), the policy "
                f"{spec.model} has {len(want)} ({', '.join(want)})"
            )
    for camera in spec.cameras:
        if key_of(robot, camera.name) is None:
            yield (
                f"the policy {spec.model} has a camera {camera.name!r}, those of {robot.name}'s "
                f"clients are {', '.join(robot.cameras)}, in models also {', '.join(robot.slots)}"
            )

"""A robot and a service that it fits, and what `admit` says of others."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.actors.inference.service_terms import Occupancy, Terms
from holdfast.actors.inference.session_checks import Admitted, admit
from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.transport.bodies import Open, Reject

SPEC = PolicySpec(
    model="picker",
    revision="1",
    cameras=(CameraFeature("overhead", 96, 72), CameraFeature("wrist", 96, 72)),
    state_names=("x", "y", "belt"),
    action_names=("x", "y", "gripper"),
    chunk_size=45,
    fps=30,
    prefix="trained",
    max_prefix_steps=20,
)
TERMS = Terms(service="pick", spec=SPEC, limit=4)
ROOM = Occupancy(sessions=0, load=0.0, capacity=4)
ROBOT = Open(
    robot="r1",
    service="pick",
    action_names=SPEC.action_names,
    state_names=SPEC.state_names,
    cameras={"overhead": (640, 480), "wrist": (640, 480)},
    fps=30,
    rtc=True,
)


def verdict(
    robot: dict[str, Any], terms: dict[str, Any] | None = None, occupancy: Occupancy = ROOM
) -> Admitted | Reject:
    """What a service with these terms says to a robot with these settings."""
    service = Terms(**{"service": "pick", "spec": SPEC, "limit": 4, **(terms or {})})
    return admit(msgspec.structs.replace(ROBOT, **robot), service, occupancy)

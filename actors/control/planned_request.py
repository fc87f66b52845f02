"""`PlannedRequest`: what a request for a chunk has beside the robot's state and images."""

from __future__ import annotations

import msgspec

from .plan import Floats, Snapshot


class PlannedRequest(msgspec.Struct, frozen=True):
    """A request to send: the snapshot it belongs to, and what the policy needs beside the state."""

    asked: Snapshot
    prefix: Floats | None
    prefix_robot: Floats | None
    delay_steps: int
    slack_s: float
    episode_start: bool
    seed: int
    task: str

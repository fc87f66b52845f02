"""Program: serves chunks that swing the joints of an SO-101 about their middles, in time.

A chunk begins at the measured pose and goes to the swing at `SPEED` at most, as a policy does that
was trained on smooth motions.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence

import numpy as np

from holdfast import Chunk, Observation, PolicySpec, serve

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
NAMES = tuple(f"{joint}.pos" for joint in JOINTS)
FPS = 30.0
SPEED = 45.0
"""Units per second."""
PERIOD_S = 8.0
MIDDLE = np.array([0, 0, 0, 0, 0, 50], np.float32)
SWING = np.array([40, 15, 15, 10, 30, 20], np.float32)
SPEC = PolicySpec(
    model="wave",
    revision="1",
    cameras=(),
    state_names=NAMES,
    action_names=NAMES,
    chunk_size=45,
    fps=FPS,
)


def swing(seen: Sequence[Observation]) -> list[Chunk]:
    """One chunk for each observation."""
    now_s = time.monotonic()
    chunks = []
    for observation in seen:
        pose, poses = observation.state, []
        for step in range(1, SPEC.chunk_size + 1):
            phase = math.sin(2 * math.pi * (now_s + step / FPS) / PERIOD_S)
            goal = MIDDLE + SWING * np.float32(phase)
            pose = pose + np.clip(goal - pose, -SPEED / FPS, SPEED / FPS)
            poses.append(pose)
        chunk = np.array(poses, np.float32)
        chunks.append(Chunk(model=chunk, robot=chunk))
    return chunks


if __name__ == "__main__":
    # In place of the service's own replica, which has this hash.
    serve(swing, SPEC, service="wave", name="wave/wave", checkpoint_hash=sys.argv[1])

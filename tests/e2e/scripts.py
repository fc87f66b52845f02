"""A fleet without robots, programs that use it, and a robot that is where it was commanded to."""

from __future__ import annotations

LAB = "name: lab\nservices: {}\nrobots: []\n"
ARM = """
import time

import numpy as np

from holdfast import Robot, RobotSpec

JOINTS = ("base", "elbow")


class Arm(Robot):
    spec = RobotSpec(JOINTS, JOINTS)

    def __init__(self):
        self.at = np.zeros(2, np.float32)

    def connect(self):
        pass

    def read_state(self, out):
        out[:] = self.at
        return time.monotonic_ns()

    def write_action(self, action):
        self.at[:] = action
"""
SERVE = """
import numpy as np
from holdfast import Chunk, PolicySpec, serve

spec = PolicySpec(model="nod", revision="1", cameras=(), state_names=("neck",),
                  action_names=("neck",), chunk_size=50, fps=50.0)
still = np.zeros((50, 1), np.float32)
serve(lambda batch: [Chunk(model=still, robot=still) for _ in batch], spec, service="nod")
"""
PLAY = """
import time
import numpy as np
from holdfast import RemotePolicy

with RemotePolicy({service!r}, robot={robot!r}, action_names=["neck"], state_names=["neck"],
                  cameras={{}}, fps=100) as policy:
    policy.wait(60)
    while True:
        policy.act({{"state": np.zeros(1, np.float32)}})
        time.sleep(0.01)
"""

"""A fleet without robots, and programs that use it."""

from __future__ import annotations

LAB = "name: lab\nservices: {}\nrobots: []\n"
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

"""A small π0.5 of openpi's files in a running fleet: two robots and openpi's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from holdfast.tests.actors.clients.conftest import Served, serve
from holdfast.tests.peers.small_pi_checkpoint import STEPS, write_openpi_checkpoint
from holdfast.tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LAB = """
import time
import numpy as np
from holdfast import Camera, Robot, RobotSpec
from holdfast.policy.steps import libero

KEYS = libero().keys

class Hand(Robot):
    # Velocities move nothing here: the policy sees the same state at every request.
    spec = RobotSpec(
        action_names=KEYS.action_names, state_names=KEYS.state_names, control_mode="velocity"
    )
    def connect(self):
        pass
    def read_state(self, out):
        out[:] = 0.25
        return time.monotonic_ns()
    def write_action(self, action):
        pass

class Grey(Camera):
    def __init__(self, width, height, fps):
        self.width, self.height, self.period_s = width, height, 1.0 / fps
    def open(self):
        pass
    def read(self, out):
        time.sleep(self.period_s)
        out[:] = 128
        return time.monotonic_ns()
    def close(self):
        pass
"""

CLIENT = """
import json, sys
import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy
policy = WebsocketClientPolicy(host="127.0.0.1", port=int(sys.argv[1]))
answer = policy.infer({
    "observation/image": np.full((32, 48, 3), 128, np.uint8),
    "observation/wrist_image": np.full((32, 48, 3), 128, np.uint8),
    "observation/state": np.full(8, 0.25),
    "prompt": "open the drawer",
})
print(json.dumps(answer["actions"].tolist()))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two robots of LIBERO's form, and openpi's port."""
    folder = tmp_path_factory.mktemp("pi05")
    write_openpi_checkpoint(folder / "drawer", "pi05")
    (folder / "lab.py").write_text(LAB)
    options = {"mapping": "libero", "camera_size": [48, 32], "euler_steps": 4}
    pick = {"policy": "pi05", "checkpoint": "drawer", "options": options}
    camera = {"driver": "lab:Grey", "width": 48, "height": 32, "fps": 10, "frozen_after_s": 0}
    robots = [
        {
            "name": name,
            "driver": "lab:Hand",
            "service": "pick",
            "fps": 10,
            "safety": {"fallback": "zero"},
            "task": "open the drawer",
            "cameras": dict.fromkeys(("image", "wrist_image"), camera),
        }
        for name in ("r1", "r2")
    ]
    values = {"name": "pi05", "services": {"pick": pick}, "robots": robots}
    yield from serve(folder, values, mapping="libero")


def test_robots_and_openpis_client_are_served_by_one_small_pi05(served: Served) -> None:
    """Both robots stream in one batch; the client gets a whole chunk of LIBERO's seven actions."""

    def streaming() -> bool:
        rows = served.fleet.status()["robots"]
        return len(rows) == 2 and all(row["state"] == "STREAMING" and row["merged"] for row in rows)

    wait_until(streaming, "both robots stream", 60.0)
    actions = json.loads(served.run(CLIENT))
    assert (len(actions), len(actions[0])) == (STEPS, 7)
    assert max(abs(value) for step in actions for value in step) > 0.05

"""Published clients of GR00T's protocol, unmodified and in an interpreter of their own, with a real
fleet: that of strands-robots 0.3.8 (N1.5's layout, arrays by numpy.save), and that of
inspect-robots-unitree-g1 0.1.1 (N1.7's, arrays by msgpack-numpy). GR00T's own package is published
nowhere.

The service is one for the arm of GR00T's example, SO-100, which needs no mapping.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from holdfast.tests.actors.clients.conftest import Served, serve

POLICY = """
import numpy as np
from holdfast import CameraFeature, Chunk, PolicySpec

NAMES = [f"{n}.pos" for n in ("pan", "lift", "elbow", "flex", "roll", "gripper")]

class Still:
    def __init__(self):
        self.spec = PolicySpec(
            model="so100", revision="1", cameras=(CameraFeature("front", width=32, height=24),),
            state_names=NAMES, action_names=NAMES, chunk_size=16, fps=10)
    def predict_chunk(self, batch):
        means = [np.float32(each.images["front"].mean()) for each in batch]
        chunks = [np.tile(each.state + mean, (16, 1)) for each, mean in zip(batch, means)]
        return [Chunk(model=chunk, robot=chunk) for chunk in chunks]
"""

STRANDS = """
import asyncio, json, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
from strands_robots.policies.groot import Gr00tPolicy
policy = Gr00tPolicy("so100", host="127.0.0.1", port=int(sys.argv[1]))
names = ["pan", "lift", "elbow", "flex", "roll", "gripper"]
policy.set_robot_state_keys(names)
observation = {name: float(k) for k, name in enumerate(names)}
observation["webcam"] = np.full((48, 64, 3), 4, np.uint8)
print(json.dumps([policy.client.ping()] + asyncio.run(policy.get_actions(observation, "pick"))))
try:
    policy.client.get_action({"state.single_arm": np.zeros((1, 4))})
except RuntimeError as error:
    print(json.dumps(str(error)))
"""

INSPECT = """
import json, sys
import numpy as np
from inspect_robots.types import Observation
from inspect_robots_unitree_g1.policy import Gr00tPolicy
policy = Gr00tPolicy(
    port=int(sys.argv[1]), image_key="video.front",
    state_keys={"state.single_arm": ("packed", 0, 5), "state.gripper": ("packed", 5, 6)},
    action_keys={"action.single_arm": ("packed", 0, 5), "action.gripper": ("packed", 5, 6)})
image = np.full((24, 32, 3), 4, np.uint8)
for first in (0.0, 1.0):
    chunk = policy.act(Observation(
        images={"head_cam": image}, state={"joint_pos": first + np.arange(16.0)},
        instruction="pick"))
    print(json.dumps([action.data[:6].tolist() for action in chunk.actions]))
"""


@pytest.fixture(scope="module")
def so100(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service for an SO-100, with a port for GR00T's clients."""
    folder = tmp_path_factory.mktemp("so100")
    (folder / "so100.py").write_text(POLICY)
    values = {"name": "grp", "services": {"pick": {"policy": "so100:Still"}}}
    yield from serve(folder, values, kind="groot")


@pytest.mark.slow
def test_strands_robots_client_drives_an_so100_without_a_mapping(so100: Served) -> None:
    """Its six values come back with the image's mean, 16 times; an error has the port's words."""
    lines = so100.run(STRANDS).splitlines()
    alive, *actions = json.loads(lines[0])
    assert alive is True
    assert len(actions) == 16
    assert [list(action.values()) for action in actions] == [[4.0, 5.0, 6.0, 7.0, 8.0, 9.0]] * 16
    assert "GR00T server error: " in json.loads(lines[1])
    assert "expected [1, 5]" in json.loads(lines[1])


@pytest.mark.slow
def test_inspect_robots_client_gets_chunks_in_its_own_encoding(so100: Served) -> None:
    """Nested keys and a batch of one, written and read by msgpack-numpy."""
    lines = so100.run(INSPECT).splitlines()
    for first, line in enumerate(lines):
        assert json.loads(line) == [[first + k + 4.0 for k in range(6)]] * 16

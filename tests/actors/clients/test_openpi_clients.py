"""openpi-client 0.1.2, unmodified and in an interpreter of its own, with a real fleet."""

from __future__ import annotations

import json

import pytest

from holdfast.tests.actors.clients.conftest import Served

pytestmark = pytest.mark.slow  # before a fleet is started that no client can use

COMMON = """
import json, sys
import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy
port = int(sys.argv[1])
def observation(value=0.0):
    return {
        "observation/overhead_image": np.zeros((96, 128, 3), np.uint8),
        "observation/wrist_image": np.zeros((120, 160, 3), np.uint8),
        "observation/state": np.full(7, value),
        "prompt": "put the red parcel into the left bin",
    }
"""

POLICY = """
policy = WebsocketClientPolicy(host="127.0.0.1", port=port)
answers = [policy.infer(observation(value)) for value in (1.0, 2.0)]
print(json.dumps({
    "metadata": policy.get_server_metadata(),
    "shapes": [a["actions"].shape for a in answers],
    "dtype": str(answers[0]["actions"].dtype),
    "values": [[a["actions"].min().item(), a["actions"].max().item()] for a in answers],
    "timing": [[a["server_timing"], a["policy_timing"]] for a in answers],
}))
"""

RUNTIME = """
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.runtime.runtime import Runtime
from openpi_client.runtime.environment import Environment
from openpi_client.runtime.agents.policy_agent import PolicyAgent
class Counting(Environment):
    def __init__(self):
        self.steps, self.seen = 0, []
    def reset(self):
        self.steps = 0
    def is_episode_complete(self):
        return self.steps >= 25
    def get_observation(self):
        return observation(self.steps)
    def apply_action(self, action):
        self.seen.append(action["actions"].tolist())
        self.steps += 1
world = Counting()
policy = WebsocketClientPolicy(host="ws://127.0.0.1", port=port)
Runtime(world, PolicyAgent(ActionChunkBroker(policy, 10)), [], num_episodes=2).run()
print(json.dumps(world.seen))
"""

FAILS = """
policy = WebsocketClientPolicy(host="127.0.0.1", port=port)
del (wrong := observation())["observation/state"]
try:
    policy.infer(wrong)
except RuntimeError as error:
    print(error)
try:
    policy.infer(observation())
except Exception as error:
    print(type(error).__name__, error)
print(WebsocketClientPolicy(host="127.0.0.1", port=port).infer(observation())["actions"].shape)
"""

KEYS = """
for key in (None, "wrong", "s3cret"):
    try:
        policy = WebsocketClientPolicy(host="127.0.0.1", port=port, api_key=key)
        print(json.dumps(policy.get_server_metadata()))
        print(policy.infer({"endpoint": "infer", **observation(3.0)})["actions"][0, 0])
        policy._ws.send(policy._packer.pack({"endpoint": "reset", "session_ids": None}))
        print(policy._ws.recv())
    except Exception as error:
        print(error)
"""


def test_a_policy_gets_metadata_and_whole_chunks(served: Served) -> None:
    """Metadata first; then actions float32 [chunk, A] with openpi's timing fields."""
    found = json.loads(served.run(COMMON + POLICY))
    metadata = found["metadata"]
    assert (metadata["service"], metadata["model"]) == ("pick", "conveyor-flow")
    assert metadata["action_names"] == ["x", "y", "z", "wrist", "gripper"]
    assert metadata["cameras"]["wrist"] == [96, 128, 3]
    assert metadata["reset_pose"] == [0.5]
    assert (found["shapes"], found["dtype"]) == ([[48, 5]] * 2, "float32")
    assert found["values"] == [[1.0, 1.0], [2.0, 2.0]]
    (first, own), (second, _) = found["timing"]
    assert set(first) == {"infer_ms"}
    assert set(second) == {"infer_ms", "prev_total_ms"}
    assert 0 < own["infer_ms"] <= first["infer_ms"]
    served.without_clients()


def test_the_runtime_and_its_action_chunk_broker_play_episodes(served: Served) -> None:
    """Of each chunk ten steps are executed, one after the other, over two episodes."""
    seen = json.loads(served.run(COMMON + RUNTIME))
    # The broker goes on with its chunk at the end of an episode only if it is not reset.
    assert [step[0] for step in seen] == [float(k // 10 * 10) for k in range(25)] * 2
    served.without_clients()


def test_an_observation_that_does_not_fit_is_an_error_of_openpis_form(served: Served) -> None:
    """The client raises RuntimeError with our words, then 1011; the next client is served."""
    words, closed, shape = served.run(COMMON + FAILS).rsplit("\n", 3)[0:3]
    assert "Error in inference server" in words
    assert "Traceback (most recent call last)" in words
    assert "the observation does not say which is the state" in words
    assert "ConnectionClosedError" in closed
    assert "1011" in closed
    assert shape == "(48, 5)"


def test_the_api_key_is_checked_and_roboarenas_dialect_is_spoken(slow: Served) -> None:
    """None and a wrong key are refused; the right one gets PolicyServerConfig, chunk and reset."""
    without, wrong, config, action, reset = slow.run(COMMON + KEYS).splitlines()
    assert "401" in without
    assert "401" in wrong
    assert json.loads(config) == {
        "image_resolution": [96, 128],
        "needs_wrist_camera": True,
        "n_external_cameras": 1,
        "needs_stereo_camera": False,
        "needs_session_id": False,
        "action_space": "joint_position",
    }
    assert (float(action), reset) == (3.0, "reset successful")
    slow.without_clients()

"""openpi at both ends, unmodified: its client at our port, its `WebsocketPolicyServer` as our
policy: openpi-server 0.1.0 of PyPI is that module of openpi's repository, byte for byte."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.tests.actors.clients.conftest import serve
from holdfast.tests.free_ports import free_port
from holdfast.tests.peers.environments import interpreter_of

SERVER = """
import sys
import numpy as np
from openpi_server import WebsocketPolicyServer

KEYS = {
    "droid": {
        "observation/exterior_image_1_left": (np.uint8, (224, 224, 3)),
        "observation/wrist_image_left": (np.uint8, (224, 224, 3)),
        "observation/joint_position": (np.float32, (7,)),
        "observation/gripper_position": (np.float32, (1,)),
    },
    "libero": {
        "observation/image": (np.uint8, (224, 224, 3)),
        "observation/wrist_image": (np.uint8, (224, 224, 3)),
        "observation/state": (np.float32, (8,)),
    },
    "aloha": {
        **{f"images/{c}": (np.uint8, (3, 224, 224))
           for c in ("cam_high", "cam_left_wrist", "cam_right_wrist")},
        "state": (np.float32, (14,)),
    },
}

class Exact:
    # A policy that takes exactly these keys, as openpi's own inputs do.
    def infer(self, data):
        data |= {f"images/{name}": image for name, image in data.pop("images", {}).items()}
        assert isinstance(data.pop("prompt"), str)
        wanted = KEYS[sys.argv[2]]
        found = {key: (value.dtype.type, value.shape) for key, value in data.items()}
        assert found == wanted, found
        state = np.concatenate([data[key] for key, (kind, _) in wanted.items() if kind != np.uint8])
        means = [data[key].mean() for key, (kind, _) in wanted.items() if kind == np.uint8]
        actions = np.tile(np.float64(state), (5, 1))
        actions[:, 0] += np.dot(means, 10.0 ** np.arange(len(means)))
        return {"actions": actions[:, : {"libero": 7}.get(sys.argv[2])]}

port, metadata = int(sys.argv[1]), {"robot": sys.argv[2]}
WebsocketPolicyServer(Exact(), "127.0.0.1", port, metadata).serve_forever()
"""

CLIENT = """
import json, sys
import numpy as np
from openpi_client import image_tools
from openpi_client.websocket_client_policy import WebsocketClientPolicy
policy = WebsocketClientPolicy(host="127.0.0.1", port=int(sys.argv[1]))
def image(value):  # as the clients of openpi's examples make them
    return image_tools.convert_to_uint8(
        image_tools.resize_with_pad(np.full((224, 224, 3), value, np.uint8), 224, 224))
def first(value):
    return np.transpose(image(value), (2, 0, 1))
observation = {
    "droid": lambda: {
        "observation/exterior_image_1_left": image(1),
        "observation/wrist_image_left": image(2),
        "observation/joint_position": np.arange(7.0),
        "observation/gripper_position": np.array([7.0]),
        "prompt": "stack the cups",
    },
    "libero": lambda: {
        "observation/image": image(1),
        "observation/wrist_image": image(2),
        "observation/state": np.arange(8.0),
        "prompt": "open the drawer",
    },
    "aloha": lambda: {
        "state": np.arange(14.0),
        "images": {"cam_high": first(1), "cam_low": first(9), "cam_left_wrist": first(2),
                   "cam_right_wrist": first(3)},
        "prompt": "fold",
    },
}[sys.argv[2]]()
answer = policy.infer(observation)
print(json.dumps({"actions": answer["actions"].tolist(), "metadata": policy.get_server_metadata()}))
"""


@contextmanager
def server(robot: str, folder: Path) -> Iterator[int]:
    """The port of openpi's own server, of a policy that takes exactly the keys of this robot."""
    program, port = folder / "server.py", free_port()
    program.write_text(SERVER)
    command = [str(interpreter_of("openpi")), str(program), str(port), robot]
    with subprocess.Popen(command, stderr=(folder / "server.err").open("w")) as process:
        try:
            yield port
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("robot", "expected", "keys"),
    [
        ("droid", [21.0, *range(1, 8)], ["exterior_image_1_left", "wrist_image_left"]),
        ("libero", [21.0, *range(1, 7)], ["image", "wrist_image"]),
        ("aloha", [321.0, *range(1, 14)], ["cam_high", "cam_left_wrist", "cam_right_wrist"]),
    ],
)
def test_a_client_of_openpi_is_served_by_a_server_of_openpi(
    tmp_path: Path, robot: str, expected: list[float], keys: list[str]
) -> None:
    """One word names the robot on both sides: each key, type, image and column is where it was."""
    with server(robot, tmp_path) as port:
        prefix = {"aloha": "images/"}.get(robot, "observation/")
        sizes = {f"{prefix}{key}": [224, 224] for key in keys}
        options = {"mapping": robot, "chunk_size": 5, "cameras": sizes}
        pick = {"policy": "openpi", "address": f"ws://127.0.0.1:{port}", "options": options}
        values = {"name": f"real-{robot}", "services": {"pick": pick}}
        with contextmanager(serve)(tmp_path, values, mapping=robot) as served:
            found = json.loads(served.run(CLIENT, robot))
            assert found["actions"] == [expected] * 5
            assert list(found["metadata"]["cameras"]) == keys

"""LeRobot's asynchronous inference: its own PolicyServer and RobotClient, unmodified.

Only ACT's forward pass and the robot are no-ops: LeRobot's processors, its queues and its client's
methods are used as they are. `inference_latency`, for which its server sleeps, is 0 by its own
option. A request is the client's `control_loop_observation` until the chunk is in its queue; each
action of it is then played by its `control_loop_action`, from which the robot gets what is checked.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from lerobot.async_inference import policy_server
from lerobot.async_inference.configs import PolicyServerConfig, RobotClientConfig
from lerobot.async_inference.robot_client import RobotClient
from lerobot.policies.act.modeling_act import ACTPolicy

from . import lerobot_act, turns, work
from .config_lerobot_robot import NoOpLeRobotConfig

_PATIENCE_S = 180.0


@contextmanager
def asking(_way: str) -> Iterator[turns.AskedPeer]:
    """It has one way."""
    port = turns.free_port()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hf-"))
        os.chdir(folder)  # it writes its logs into the working directory
        checkpoint = f"{folder}/act"
        lerobot_act.make(checkpoint, work.WIDTH, work.HEIGHT)
        stack.enter_context(turns.serving("lerobot_async", str(port)))
        turns.wait_for(port)
        client = RobotClient(
            RobotClientConfig(
                policy_type="act",
                pretrained_name_or_path=checkpoint,
                robot=NoOpLeRobotConfig(),
                actions_per_chunk=work.STEPS,
                server_address=f"127.0.0.1:{port}",
                task=work.TASK,
            )
        )
        stack.callback(client.stop)
        if not client.start():
            raise RuntimeError("LeRobot's client did not reach its server")
        threading.Thread(target=client.receive_actions, daemon=True).start()
        client.start_barrier.wait()
        yield turns.AskedPeer(_ask_by(client), f"lerobot {importlib.metadata.version('lerobot')}")


def _ask_by(client: RobotClient) -> Any:
    robot = client.robot

    def ask(number: int) -> Any:
        robot.number = number
        client.control_loop_observation(work.TASK)
        deadline_s = time.monotonic() + _PATIENCE_S
        while not client.actions_available():
            # Which it sets when a chunk is in its queue.
            client.must_go.wait(0.005)
            if time.monotonic() > deadline_s:
                raise TimeoutError("LeRobot's server answered by no actions")
        return _Played(client)

    return ask


class _Played:
    """The chunk in the client's queue, which is played when it is looked at."""

    def __init__(self, client: RobotClient) -> None:
        self._client = client

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        robot = self._client.robot
        robot.commanded.clear()
        while self._client.actions_available():
            self._client.control_loop_action()
        return np.array(robot.commanded, dtype or np.float32)


def serve(port: str) -> None:
    """Answer until the parent is gone."""
    ACTPolicy.predict_action_chunk = _actions  # the no-op policy
    config = PolicyServerConfig(host="127.0.0.1", port=int(port), inference_latency=0.0)
    policy_server.serve(config)


def _actions(_policy: Any, batch: dict[str, Any]) -> Any:
    corners = {
        name: work.corner(batch[f"observation.images.{name}"][0].permute(1, 2, 0)) * 255
        for name in work.CAMERAS
    }
    return torch.from_numpy(work.actions(batch["observation.state"][0].numpy(), corners))[None]


if __name__ == "__main__":
    turns.main(asking, serve)

"""LeRobot's asynchronous client and server, unmodified, started as its own command does.

Its options have their defaults, but for `aggregate_fn_name`, which is its own `latest_only`: an
average of two chunks would not say which observation it was made from.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from typing import Any

import torch
from lerobot.async_inference import policy_server
from lerobot.async_inference.configs import PolicyServerConfig, RobotClientConfig
from lerobot.async_inference.robot_client import RobotClient
from lerobot.policies.act.modeling_act import ACTPolicy

from . import lerobot_act, turns, work
from .config_lerobot_robot import NoOpLeRobotConfig
from .lerobot_robot import NoOpLeRobot
from .robot_log import HZ, RobotLog, infer


class LoggedLeRobot(NoOpLeRobot):
    """The fake robot, with one camera."""

    def __init__(self, log: RobotLog) -> None:
        super().__init__(NoOpLeRobotConfig(views=("left",)))
        self._log = log

    def get_observation(self) -> dict[str, Any]:
        """The next."""
        return self.seen(self._log.see())

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Log it."""
        self._log.play(list(action.values()))
        return action


def run(server: str, link: str, log: str) -> None:
    """Play until the parent is gone."""
    with tempfile.TemporaryDirectory(prefix="hf-") as folder:
        os.chdir(folder)  # it writes its logs into the working directory
        checkpoint = f"{folder}/act"
        lerobot_act.make(checkpoint, work.WIDTH, work.HEIGHT, cameras=("left",))
        with turns.serving("stutter_lerobot", server):
            turns.wait_for(int(server))
            client = RobotClient(
                RobotClientConfig(
                    policy_type="act",
                    pretrained_name_or_path=checkpoint,
                    robot=NoOpLeRobotConfig(views=("left",)),
                    actions_per_chunk=work.STEPS,
                    server_address=f"127.0.0.1:{link}",
                    task=work.TASK,
                    fps=int(HZ),
                    aggregate_fn_name="latest_only",
                )
            )
            client.robot = LoggedLeRobot(RobotLog(log))
            if not client.start():
                raise RuntimeError("LeRobot's client did not reach its server")
            threading.Thread(target=client.receive_actions, daemon=True).start()
            client.control_loop(task=work.TASK)


def serve(port: str) -> None:
    """Answer until the parent is gone."""
    ACTPolicy.predict_action_chunk = _actions
    policy_server.serve(PolicyServerConfig(host="127.0.0.1", port=int(port)))


def _actions(_policy: Any, batch: dict[str, Any]) -> Any:
    return torch.from_numpy(infer(batch["observation.state"][0].numpy()))[None]


if __name__ == "__main__":
    turns.program(run, serve, sys.argv[1:])

"""openpi's runtime, its ActionChunkBroker and its client, unmodified, at openpi's server, as in its
examples: chunks of 50 actions, of which 25 are played, as examples/aloha_real does."""

from __future__ import annotations

import sys
from typing import Any

from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.base_policy import BasePolicy
from openpi_client.runtime.agents.policy_agent import PolicyAgent
from openpi_client.runtime.environment import Environment
from openpi_client.runtime.runtime import Runtime
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from openpi_server.websocket_policy_server import WebsocketPolicyServer

from . import turns, work
from .robot_log import HZ, RobotLog, infer

_HORIZON = 25


class SlowOpenpiPolicy(BasePolicy):  # type: ignore[misc]  # openpi's, without types
    """Takes 150 ms."""

    def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
        """The chunk of an observation."""
        return {"actions": infer(obs["observation/state"])}


class LoggedEnvironment(Environment):  # type: ignore[misc]  # openpi's, without types
    """The fake robot, with one camera."""

    def __init__(self, log: RobotLog) -> None:
        self._log = log
        self._image = work.images()["left"]

    def reset(self) -> None:
        """There is nothing to reset."""

    def is_episode_complete(self) -> bool:
        """It goes on."""
        return False

    def get_observation(self) -> dict[str, Any]:
        """The next."""
        return {"observation/left_image": self._image, "observation/state": self._log.see()}

    def apply_action(self, action: dict[str, Any]) -> None:
        """Log it."""
        self._log.play(action["actions"])


def run(server: str, link: str, log: str) -> None:
    """Play until the parent is gone."""
    with turns.serving("stutter_openpi", server):
        turns.wait_for(int(server))
        policy = ActionChunkBroker(WebsocketClientPolicy("127.0.0.1", int(link)), _HORIZON)
        environment = LoggedEnvironment(RobotLog(log))
        Runtime(environment, PolicyAgent(policy), [], max_hz=HZ).run()


def serve(port: str) -> None:
    """Answer until the parent is gone."""
    WebsocketPolicyServer(SlowOpenpiPolicy(), "127.0.0.1", int(port)).serve_forever()


if __name__ == "__main__":
    turns.program(run, serve, sys.argv[1:])

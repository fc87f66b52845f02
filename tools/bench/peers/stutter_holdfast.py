"""Ours: a fleet of two hosts, the robot's and the policy's, as `supervisor start` runs it, with the
settings that a fleet file has unless it says otherwise. The robot's host reaches the broker through
the link."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .... import Fleet
from ....policy.base import CameraFeature, Chunk, Observation, PolicySpec
from ....robot.base import Robot, RobotSpec
from ..recorded_robot import PanningCamera
from . import turns, work
from .robot_log import HZ, RobotLog, infer

_JOINTS = tuple(f"joint{number}" for number in range(work.JOINTS))
_PATIENCE_S = 120.0


class LoggedArm(Robot):
    """The fake robot."""

    spec = RobotSpec(_JOINTS, _JOINTS)

    def __init__(self, log: str) -> None:
        self._path = log

    def connect(self) -> None:
        """Open the log."""
        self._log = RobotLog(self._path)

    def read_state(self, out: NDArray[np.float32]) -> int:
        """The next observation."""
        out[:] = self._log.see()
        return time.monotonic_ns()

    def write_action(self, action: NDArray[np.float32]) -> None:
        """Log it."""
        self._log.play(action)


class SlowPolicy:
    """Takes 150 ms."""

    def __init__(self) -> None:
        self.spec = PolicySpec(
            model="stutter",
            revision="1",
            cameras=(CameraFeature("left", work.WIDTH, work.HEIGHT),),
            state_names=_JOINTS,
            action_names=_JOINTS,
            chunk_size=work.STEPS,
            fps=HZ,
        )

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """The chunks of observations."""
        return [Chunk(chunk, chunk) for chunk in (infer(seen.state) for seen in batch)]


def fleet_file(folder: Path, host: str, port: int, back: int, log: str) -> Path:
    """The file as it is on `host`, for which the broker's front is at `port`."""
    camera = {
        "driver": f"{PanningCamera.__module__}:{PanningCamera.__name__}",
        "width": work.WIDTH,
        "height": work.HEIGHT,
        "fps": HZ,
        "options": {"view": "left"},
    }
    robot = {
        "name": "r1",
        "host": "robot",
        "driver": f"{_MODULE}:LoggedArm",
        "options": {"log": log},
        "service": "slow",
        "fps": HZ,
        "cameras": {"left": camera},
    }
    fleet: dict[str, Any] = {
        "name": f"stutter-{host}",
        "hosts": {name: {"address": "127.0.0.1"} for name in ("robot", "gpu")},
        "broker": {"host": "gpu", "front_port": port, "back_port": back},
        "services": {"slow": {"policy": f"{_MODULE}:SlowPolicy", "host": "gpu"}},
        "robots": [robot],
        "gateway": {"enabled": False},
    }
    path = folder / f"{host}.yaml"
    path.write_bytes(msgspec.json.encode(fleet))  # JSON is YAML
    return path


_MODULE = "holdfast.tools.bench.peers.stutter_holdfast"


def run(server: str, link: str, log: str) -> None:
    """Play until the parent is gone."""
    with tempfile.TemporaryDirectory(prefix="hf-") as name:
        folder, back = Path(name), turns.free_port()
        gpu = fleet_file(folder, "gpu", int(server), back, log)
        robot = fleet_file(folder, "robot", int(link), back, log)
        with Fleet(gpu, host="gpu"), Fleet(robot, host="robot"):
            time.sleep(1e9)


def serve() -> None:
    """There is no server but the fleet's."""


if __name__ == "__main__":
    turns.program(run, serve, sys.argv[1:])

"""Drivers in an interpreter with LeRobot, and the arm that they talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.feetech.so101 import So101
from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.robot.lerobot.lerobot_process import LeRobotProcess

PLUGIN = {
    "lerobot_robot_cart-1.0.dist-info/METADATA": """\
Metadata-Version: 2.1
Name: lerobot_robot_cart
Version: 1.0
""",
    "lerobot_robot_cart/config_cart.py": """\
from dataclasses import dataclass
from lerobot.robots import RobotConfig

@RobotConfig.register_subclass("cart")
@dataclass
class CartConfig(RobotConfig):
    eyes: bool = False
    arm: bool = False
""",
    "lerobot_robot_cart/cart.py": """\
from lerobot.robots import Robot
from .config_cart import CartConfig

class Cart(Robot):
    config_class, name = CartConfig, "cart"
    is_connected, is_calibrated = False, True

    def __init__(self, config):
        super().__init__(config)
        self.config, self.speed = config, 0.0

    @property
    def action_features(self):
        return {"x.vel": float} | ({"lift.pos": float} if self.config.arm else {})

    @property
    def observation_features(self):
        return {"x.vel": float} | ({"eye": (4, 6, 3)} if self.config.eyes else {})

    def connect(self, calibrate=True):
        if calibrate:
            raise AssertionError("calibrate")
        self.is_connected = True

    def calibrate(self):
        raise AssertionError("calibrate")

    def configure(self):
        pass

    def get_observation(self):
        return {"x.vel": self.speed}

    def send_action(self, action):
        self.speed = action["x.vel"]
        return action

    def disconnect(self):
        self.is_connected = False
""",
    "lerobot_robot_cart/__init__.py": """\
from .cart import Cart
from .config_cart import CartConfig
""",
}
"""A package of somebody else, with a robot that is no bus of motors."""


@pytest.fixture(scope="session", params=["lerobot-0.6", "lerobot-0.4"])
def lerobot(request: pytest.FixtureRequest) -> Path:
    """The interpreter of one version of the library, and then of the other."""
    return interpreter_of(request.param)


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What makes the checkout under test importable there, and the packages of `PLUGIN`."""
    folder = tmp_path_factory.mktemp("path")
    for name, text in PLUGIN.items():
        file = folder / "plugin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return f"{importable(folder)}{os.pathsep}{folder / 'plugin'}"


@pytest.fixture(scope="session")
def shared(lerobot: Path, path: str) -> Iterator[LeRobotProcess]:
    """One process for many tests: the library takes seconds to import."""
    with LeRobotProcess(lerobot, path) as process:
        yield process


@pytest.fixture
def driver(shared: LeRobotProcess) -> Iterator[LeRobotProcess]:
    """The shared process, without a robot."""
    shared.call("forget")
    yield shared
    shared.call("forget")


@pytest.fixture
def arm(tmp_path: Path) -> Iterator[So101]:
    """An SO-101, switched off as it comes from the factory, but calibrated."""
    with So101(tmp_path / "dev") as arm:
        arm.calibration(tmp_path / "calibration", "left")
        yield arm


@pytest.fixture
def options(arm: So101, tmp_path: Path) -> dict[str, Any]:
    """The options of its entry in fleet.yaml."""
    return {
        "type": "so101_follower",
        "id": "left",
        "port": str(arm.port),
        "calibration_dir": str(tmp_path / "calibration"),
    }

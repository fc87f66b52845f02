"""What the tests of several kinds of actors need."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdfast.actors.runtime.device_configs import SpecConfig
from holdfast.robot.sim import SPEC


@pytest.fixture
def simulated(tmp_path: Path) -> dict[str, object]:
    """The configuration of a simulated robot's driver."""
    return {
        "robot": "r",
        "driver": "sim",
        "options": {"seed": 5},
        "spec": msgspec.to_builtins(SpecConfig.of(SPEC)),
        "scene": "r/scene",
        "state": "r/state",
        "command": "r/command",
        "wake": str(tmp_path / "wake"),
        "state_dir": str(tmp_path / "state"),
        "tick_ns": 33_333_333,
    }

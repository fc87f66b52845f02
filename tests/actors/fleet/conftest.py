"""A fleet in which everything is right, which each test changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.checkpoint import Config
from holdfast.robot.sim import SPEC

SPEC_OF_POLICY = PolicySpec(
    model="test",
    revision="1",
    cameras=(CameraFeature("overhead", 96, 72), CameraFeature("wrist", 96, 72)),
    state_names=SPEC.state_names,
    action_names=SPEC.action_names,
    chunk_size=45,
    fps=30,
)


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    """A fleet in which everything is right, as plain values."""
    config = Config(kind="flow", spec=SPEC_OF_POLICY, network={})
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(config))
    cameras = {name: {"width": 640, "height": 480} for name in ("overhead", "wrist")}
    return {
        "name": "test",
        "services": {"pick": {"policy": "flow", "checkpoint": str(tmp_path), "replicas": 2}},
        "robots": [
            {"name": name, "service": "pick", "fps": 30, "cameras": dict(cameras)}
            for name in ("r1", "r2")
        ],
    }

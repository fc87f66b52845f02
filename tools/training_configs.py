"""The named ways to train a policy."""

from __future__ import annotations

from ..policy.base import CameraFeature, PolicySpec
from ..robot.sim import CONTROL_HZ, SPEC
from .dataset import DatasetConfig
from .training import TrainingConfig

_CAMERAS = (
    CameraFeature("overhead", width=128, height=96),
    CameraFeature("wrist", width=128, height=96),
)
_DATASET = DatasetConfig(cameras=_CAMERAS, chunk_size=48, max_prefix_steps=24)

CONFIGS = {
    "conveyor-flow": TrainingConfig(
        kind="flow",
        spec=PolicySpec(
            model="conveyor-flow",
            revision="1",
            cameras=_CAMERAS,
            state_names=SPEC.state_names,
            action_names=SPEC.action_names,
            chunk_size=_DATASET.chunk_size,
            fps=float(CONTROL_HZ),
            control_mode=SPEC.control_mode.value,
            prefix="trained",
            max_prefix_steps=_DATASET.max_prefix_steps,
        ),
        network={"width": 128, "layers": 3, "heads": 4, "camera_width": 32, "places": 24},
        dataset=_DATASET,
        shards=200,
        steps=4000,
    ),
}

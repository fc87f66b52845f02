"""The named training configurations, and `register_config` for those of others."""

from __future__ import annotations

from typing import Literal

from ...policy.base import CameraFeature, PolicySpec
from ...robot.sim import CONTROL_HZ, SPEC
from .dataset import DatasetConfig
from .pi_presets import PI_CONFIGS
from .training_config import OptimizationConfig, RecordedConfig, TrainingConfig

_CAMERAS = (
    CameraFeature("overhead", width=128, height=96),
    CameraFeature("wrist", width=128, height=96),
)
_DATASET = DatasetConfig(cameras=_CAMERAS, chunk_size=48, max_prefix_steps=24)


def _spec(model: str, prefix: Literal["none", "trained"]) -> PolicySpec:
    return PolicySpec(
        model=model,
        revision="1",
        cameras=_CAMERAS,
        state_names=SPEC.state_names,
        action_names=SPEC.action_names,
        chunk_size=_DATASET.chunk_size,
        fps=float(CONTROL_HZ),
        control_mode=SPEC.control_mode.value,
        prefix=prefix,
        max_prefix_steps=_DATASET.max_prefix_steps if prefix == "trained" else 0,
    )


_NETWORK = {"width": 128, "layers": 3, "heads": 4, "patch": 4, "camera_width": 32, "places": 24}

CONFIGS: dict[str, OptimizationConfig] = {
    "flow": RecordedConfig(kind="flow", network={**_NETWORK, "euler_steps": 5}, steps=5000),
    "act": RecordedConfig(kind="act", network=_NETWORK, steps=5000, looks=1),
    "pusht-flow": RecordedConfig(
        kind="flow",
        model="pusht-flow",
        network={**_NETWORK, "patch": 10, "euler_steps": 8},
        chunk_size=20,
        max_prefix_steps=10,
        relative_actions=("agent_x", "agent_y"),
        rate=1.5e-3,
        steps=8000,
    ),
    "conveyor-flow": TrainingConfig(
        kind="flow",
        spec=_spec("conveyor-flow", "trained"),
        network={**_NETWORK, "euler_steps": 5},
        dataset=_DATASET,
        shards=400,
        steps=5000,
    ),
    "conveyor-act": TrainingConfig(
        kind="act",
        spec=_spec("conveyor-act", "none"),
        network=_NETWORK,
        dataset=_DATASET,
        shards=400,
        steps=2000,
        looks=1,
        linger_steps=12,
    ),
    **PI_CONFIGS,
}


def register_config(name: str, config: OptimizationConfig) -> None:
    """Add a named config. Raises ValueError for a name that is taken, or is none.

    `holdfast-train --import MODULE NAME` imports the module that calls this.

    >>> register_config(
    ...     "small-flow", RecordedConfig(kind="flow", network={"width": 64}, steps=1000)
    ... )
    >>> CONFIGS["small-flow"].network
    {'width': 64}
    """
    if not name or "=" in name or name == "stats":
        raise ValueError(f"a config cannot be called {name!r}: it is an argument of holdfast-train")
    if name in CONFIGS:
        raise ValueError(f"there is a config {name!r} already; choose another name")
    CONFIGS[name] = config


def named_config(name: str) -> OptimizationConfig:
    """Raises ValueError that lists the names."""
    if name not in CONFIGS:
        raise ValueError(f"no config '{name}'; there are: {', '.join(CONFIGS)}")
    return CONFIGS[name]

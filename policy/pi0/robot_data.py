"""What stands between a robot and the model, by the origin of the checkpoint: `RobotData`.

openpi's checkpoints do not say which robot they are for: an embodiment of `policy.steps` does.
LeRobot's say it in their config.json, in other formulas and without the steps of a robot. Those of
`holdfast-train` have the spec, and the steps with which they were trained (`trained_data`).

Source of LeRobot's order: lerobot 0.6.1, `policies/pi05/processor_pi05.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from ...errors import PolicyError
from ..base import PolicySpec
from ..checkpoint import read_config, read_stats
from ..lerobot.files import LeRobotOptions, spec_of
from ..normalize import Mode, Stats
from ..steps import (
    AbsoluteActions,
    CutActions,
    Data,
    DeltaActions,
    NormalizeKeys,
    RobotKeys,
    StepPair,
    UnnormalizeKeys,
    embodiment_of,
    read_norm_stats,
    registered,
)
from .checkpoint_layout import CONFIG, CheckpointLayout
from .pi_options import PiOptions
from .pi_settings import settings_of
from .trained_data import robot_of, steps_of

_STATE, _TASK = "observation.state", "task"
_MODES: dict[str, Mode | None] = {"IDENTITY": None, "MEAN_STD": "zscore", "QUANTILES": "quantile"}


class RobotData(NamedTuple):
    """The spec without a way to continue a plan, the keys of the data, and the steps up to the
    model's own: states and actions not yet padded, images not yet floating."""

    spec: PolicySpec
    keys: RobotKeys
    steps: StepPair


def robot_data(layout: CheckpointLayout, revision: str | None, options: PiOptions) -> RobotData:
    """The data of the checkpoint's robot. Raises PolicyError and StepError."""
    match layout.origin:
        case "openpi":
            return _of_openpi(layout, revision, options)
        case "lerobot":
            return _of_lerobot(layout, revision, options)
        case _:
            return _trained_here(layout, revision, options)


def spec_alone(layout: CheckpointLayout, revision: str | None, options: PiOptions) -> PolicySpec:
    """The spec of `robot_data`, without reading statistics. Raises PolicyError."""
    match layout.origin:
        case "openpi":
            return _openpi_spec(layout, revision, options)
        case "lerobot":
            return _lerobot_spec(layout, revision, options)
        case _:
            return _revised(read_config(layout.folder).spec, revision)


def _revised(spec: PolicySpec, revision: str | None) -> PolicySpec:
    return spec if revision is None else msgspec.structs.replace(spec, revision=revision)


def _trained_here(layout: CheckpointLayout, revision: str | None, options: PiOptions) -> RobotData:
    config = read_config(layout.folder)
    robot = robot_of(config.spec, settings_of(config).mapping, config.relative_actions)
    stats = read_stats(layout.folder)
    steps = steps_of(robot, layout.architecture.family, config, stats, options.prompt)
    return RobotData(_revised(config.spec, revision), robot.keys, steps)


def _openpi_spec(layout: CheckpointLayout, revision: str | None, options: PiOptions) -> PolicySpec:
    if options.mapping is None:
        raise PolicyError(
            f"{layout.folder} does not say which robot it is for: add `options: {{mapping: NAME}}`"
            f", one of {', '.join(registered())}, or module:name of your own"
        )
    embodiment = embodiment_of(options.mapping)
    return embodiment.spec(
        layout.folder.resolve().name,
        layout.architecture.steps,
        revision=revision or "1",
        size=options.camera_size,
    )


def _of_openpi(layout: CheckpointLayout, revision: str | None, options: PiOptions) -> RobotData:
    spec = _openpi_spec(layout, revision, options)
    embodiment = embodiment_of(str(options.mapping))
    steps = embodiment.pipeline(
        layout.architecture.family,
        read_norm_stats(layout.folder, options.asset),
        prompt=options.prompt,
        size=None,
        pixels=layout.architecture.vision.pixels,
    )
    return RobotData(spec, embodiment.keys, steps)


def _lerobot_spec(layout: CheckpointLayout, revision: str | None, options: PiOptions) -> PolicySpec:
    theirs = LeRobotOptions(
        action_names=options.action_names,
        state_names=options.state_names,
        dataset=options.dataset,
        fps=options.fps,
        prefix="none",
    )
    return spec_of(layout.folder, str(layout.folder), revision, theirs)


def _of_lerobot(layout: CheckpointLayout, revision: str | None, options: PiOptions) -> RobotData:
    spec = _lerobot_spec(layout, revision, options)
    features = layout.config["input_features"]
    keys = RobotKeys(
        name="lerobot",
        cameras={camera.name: _image_key(camera.name, features) for camera in spec.cameras},
        state={_STATE: spec.state_names} if spec.state_names else {},
        action_names=spec.action_names,
        fps=spec.fps,
        prompt=_TASK,
    )
    actions = len(spec.action_names)
    pair = StepPair([LeRobotInputs(keys, options.prompt or "")], [CutActions(actions)])
    if layout.config.get("use_relative_actions"):
        mask = _relative(layout.config, actions)
        pair = pair.push(StepPair([DeltaActions(mask)], [AbsoluteActions(mask)]))
    return RobotData(spec, keys, pair.push(_normalization(layout)))


def _image_key(name: str, features: Mapping[str, Any]) -> str:
    long = f"observation.images.{name}"
    return long if long in features else f"observation.{name}"


@dataclass(frozen=True)
class LeRobotInputs:
    """LeRobot's keys to those of the steps; cameras stay in the order of the checkpoint."""

    keys: RobotKeys
    prompt: str

    def __call__(self, data: Data) -> Data:
        images = {name: data[key] for name, key in self.keys.cameras.items()}
        made: Data = {
            "image": images,
            "image_mask": dict.fromkeys(images, True),
            "prompt": data.get(_TASK, self.prompt),
        }
        if _STATE in data:
            made["state"] = data[_STATE]
        if "actions" in data:
            made["actions"] = data["actions"]
        return made


def _relative(config: Mapping[str, Any], actions: int) -> tuple[bool, ...]:
    """Which actions count from the state. Source: lerobot 0.6.1,
    `processor/relative_action_processor.py`."""
    excluded = [str(name).lower() for name in config.get("relative_exclude_joints") or () if name]
    names = [str(name).lower() for name in config.get("action_feature_names") or ()][:actions]
    mask = [not any(part in name for part in excluded) for name in names]
    return (*mask, *[True] * (actions - len(mask)))


def _normalization(layout: CheckpointLayout) -> StepPair:
    mapping = layout.config.get("normalization_mapping") or {}
    if mapping.get("VISUAL", "IDENTITY") != "IDENTITY":
        raise PolicyError(
            f"{layout.folder / CONFIG}: images are normalized by {mapping['VISUAL']}, which is not "
            "supported here: use `policy: lerobot`"
        )
    stats = read_norm_stats(layout.folder)
    pair = StepPair()
    for kind, key in (("STATE", "state"), ("ACTION", "actions")):
        name = str(mapping.get(kind, "IDENTITY"))
        if name not in _MODES:
            raise PolicyError(
                f"{layout.folder / CONFIG}: {kind} is normalized by {name}, expected one of "
                f"{', '.join(_MODES)}: use `policy: lerobot`"
            )
        mode = _MODES[name]
        if mode is not None and key in stats:
            own: Mapping[str, Stats] = {key: stats[key]}
            pair = pair.push(
                StepPair(
                    [NormalizeKeys(own, mode, formula="lerobot")],
                    [UnnormalizeKeys(own, mode, formula="lerobot")],
                )
            )
    return pair

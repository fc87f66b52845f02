"""What the configuration of a LeRobot checkpoint implies: its spec, with the service's options.

This module imports neither torch nor lerobot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...errors import PolicyError
from ..base import CameraFeature, Clip, Horizon, PolicySpec, Schedule
from .checkpoint_folder import CONFIG
from .families import CHUNKLESS, Mode, PolicyFamily, family_of

GUIDANCE = ("schedule", "clip", "execution_horizon")
_HORIZON = 10
"""The execution horizon of `RTCConfig`, LeRobot 0.6.1."""
_USUAL_FPS = 30.0
"""LeRobot's recordings have this rate unless another was asked for."""


class LeRobotOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a checkpoint does not say. `dataset` is the directory of the dataset that it was trained
    on, or its meta/info.json: names and fps are taken from there, unless given. `serving_mode`
    replaces the family's. `prefix` is how a chunk continues the current plan (None: as the family
    can); `schedule`, `clip` and `execution_horizon` replace the checkpoint's own `rtc_config`."""

    action_names: tuple[str, ...] | None = None
    state_names: tuple[str, ...] | None = None
    dataset: str | None = None
    fps: float | None = None
    control_mode: Literal["position", "velocity"] = "position"
    serving_mode: Mode | None = None
    prefix: Literal["none", "guided"] | None = None
    schedule: Schedule | None = None
    clip: Clip | None = None
    execution_horizon: Horizon | None = None


def options_of(given: Mapping[str, Any]) -> LeRobotOptions:
    """The options, validated. Raises PolicyError."""
    try:
        return msgspec.convert(dict(given), LeRobotOptions)
    except msgspec.ValidationError as error:
        known = ", ".join(LeRobotOptions.__struct_fields__)
        raise PolicyError(
            f"options: {error}; policy lerobot takes {known}, and `rename` of a robot maps its "
            "cameras to the policy's"
        ) from error


def config_of(folder: Path) -> dict[str, Any]:
    """The checkpoint's config.json. Raises PolicyError."""
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise PolicyError(f"{folder / CONFIG} is no configuration of LeRobot: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("type"), str):
        raise PolicyError(f"{folder / CONFIG} has no `type`, the family of a LeRobot policy")
    return config


def spec_of(
    folder: Path, checkpoint: str, revision: str | None, options: LeRobotOptions
) -> PolicySpec:
    """The spec that the files imply, with `options`. Raises PolicyError.

    Without names of the actions the spec has `by_count`, and action_0, action_1, ...
    """
    config = config_of(folder)
    _refuse_unserved(config, folder)
    inputs, outputs = config.get("input_features") or {}, config.get("output_features") or {}
    info = _info(options.dataset)
    family = family_of(config)
    try:
        actions = int(outputs["action"]["shape"][0])
        states = [f for name, f in inputs.items() if name == "observation.state"]
        count = int(states[0]["shape"][0]) if states else 0
        chunk_size = family.chunk_size(config)
        observation_steps = int(config[family.history]) if family.history else 1
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise PolicyError(
            f"{folder / CONFIG} of family {config['type']} lacks {error}: a chunk's length and the "
            "shape of `action` are needed"
        ) from error
    own_actions = options.action_names or _dataset_names(info, "action")
    own_states = options.state_names or _dataset_names(info, "observation.state")
    for key, names, wanted in (
        ("action_names", own_actions, actions),
        ("state_names", own_states, count),
    ):
        if names is not None and len(names) != wanted:
            raise PolicyError(
                f"options: {key}: {len(names)} names ({', '.join(names)}), but the checkpoint has "
                f"{wanted} values: name each, in the order of the training's dataset"
            )
    if own_states is None and own_actions is not None and count == actions:
        own_states = own_actions
    mode = options.serving_mode or family.mode
    horizon = _horizon(config, family, options)
    try:
        return PolicySpec(
            model=checkpoint if not Path(checkpoint).is_dir() else _name(folder, config["type"]),
            revision=_revision(folder, checkpoint, revision),
            cameras=_cameras(inputs, folder),
            state_names=own_states or tuple(f"state_{k}" for k in range(count)),
            action_names=own_actions or tuple(f"action_{k}" for k in range(actions)),
            chunk_size=chunk_size,
            fps=options.fps or float(info.get("fps") or _USUAL_FPS),
            control_mode=options.control_mode,
            prefix="guided" if horizon else "none",
            max_prefix_steps=min(horizon, chunk_size),
            stateful=mode == "exclusive",
            observation_steps=observation_steps,
            by_count=own_actions is None or (count > 0 and own_states is None),
        )
    except (TypeError, ValueError) as error:
        raise PolicyError(f"options: {error}") from error


def _refuse_unserved(config: Mapping[str, Any], folder: Path) -> None:
    kind = config["type"]
    if kind in CHUNKLESS:
        raise PolicyError(
            f"{folder / CONFIG}: LeRobot's {kind} {CHUNKLESS[kind]}: only policies with a chunk "
            "API (predict_action_chunk) can be served"
        )
    if config.get("use_peft"):
        raise PolicyError(
            f"{folder / CONFIG}: an adapter (use_peft) of family {kind}, which is not loaded here: "
            "merge it into its base policy (merge_and_unload of peft) and save that"
        )


def keeps_queues(config: dict[str, Any], options: LeRobotOptions) -> bool:
    """Whether the policy is asked through its `select_action`, which fills its queues."""
    family = family_of(config)
    return family.queued and (bool(family.history) or options.serving_mode != "shared")


def _horizon(config: dict[str, Any], family: PolicyFamily, options: LeRobotOptions) -> int:
    """For how many steps a chunk continues the plan, 0 if it does not. Raises PolicyError."""
    guided = options.prefix == "guided" or (options.prefix is None and family.guided)
    if guided and keeps_queues(config, options):
        if options.prefix is None:
            return 0
        raise PolicyError(
            f"options: prefix: a policy of family {config['type']} keeps queues, and LeRobot's "
            "select_action takes no prefix: remove it"
        )
    if not guided:
        for name in GUIDANCE:
            if getattr(options, name) is not None:
                raise PolicyError(
                    f"options: {name}: it is for prefix 'guided', and a policy of family "
                    f"{config['type']} continues no plan here: remove it, or add `prefix: guided` "
                    "where the policy supports RTC"
                )
        return 0
    stored = (config.get("rtc_config") or {}).get("execution_horizon")
    return options.execution_horizon or int(stored or _HORIZON)


def _name(folder: Path, kind: str) -> str:
    """What a checkpoint in a directory is called: training runs call each of theirs the same."""
    own = folder.resolve().name
    return kind if own == "pretrained_model" else own


def _revision(folder: Path, checkpoint: str, revision: str | None) -> str:
    """The one that was asked for; of the hub's cache the commit, which is a folder's name."""
    return revision or ("local" if Path(checkpoint).is_dir() else folder.name)


def _cameras(inputs: Mapping[str, Any], folder: Path) -> tuple[CameraFeature, ...]:
    found = []
    for key, feature in inputs.items():
        kind, shape = feature.get("type"), list(feature.get("shape") or ())
        if kind == "STATE" and key == "observation.state":
            continue
        if kind != "VISUAL":
            raise PolicyError(
                f"{folder / CONFIG}: the policy wants {key} ({kind} {shape}), which no robot here "
                "sends: only observation.state, images and the task are"
            )
        name = key.removeprefix("observation.images.").removeprefix("observation.")
        if name.startswith("empty_camera"):  # the policy fills it itself
            continue
        if len(shape) != 3 or shape[0] != 3:
            raise PolicyError(
                f"{folder / CONFIG}: {key} has shape {shape}, expected [3, height, width]: a "
                "camera sends colour images"
            )
        found.append(CameraFeature(name, width=shape[2], height=shape[1]))
    return tuple(found)


def _info(dataset: str | None) -> dict[str, Any]:
    """The info.json of a dataset; empty without one. Raises PolicyError."""
    if dataset is None:
        return {}
    place = Path(dataset).expanduser()
    file = place if place.suffix == ".json" else place / "meta" / "info.json"
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"options: dataset: {file} cannot be read ({error}): name the directory of a LeRobot "
            "dataset on this machine, or its meta/info.json"
        ) from error


def _dataset_names(info: Mapping[str, Any], feature: str) -> tuple[str, ...] | None:
    """The names of the feature's values, which older datasets keep in a group ({"motors": [...]})
    and LeRobot's robots end by .pos."""
    names = ((info.get("features") or {}).get(feature) or {}).get("names")
    if isinstance(names, dict):
        names = [name for group in names.values() for name in group]
    return tuple(str(name).removesuffix(".pos") for name in names) if names else None

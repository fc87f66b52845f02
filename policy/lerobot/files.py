"""The files of a LeRobot checkpoint: where they are, their hash, and the spec that they imply.

This module imports neither torch nor lerobot.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...errors import PolicyError
from ..base import CameraFeature, PolicySpec
from .families import Mode, family_of

CONFIG = "config.json"
PATTERNS = ("*.json", "*.safetensors")
"""The files that a policy is loaded from."""

_BLOCK_BYTES = 1 << 22
_USUAL_FPS = 30.0
"""LeRobot's recordings have this rate unless another was asked for."""


class LeRobotOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a checkpoint does not say. `dataset` is the directory of the dataset that it was trained
    on, or its meta/info.json: names and fps are taken from there, unless given. `serving_mode`
    replaces the family's."""

    action_names: tuple[str, ...] | None = None
    state_names: tuple[str, ...] | None = None
    dataset: str | None = None
    fps: float | None = None
    control_mode: Literal["position", "velocity"] = "position"
    serving_mode: Mode | None = None


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


def folder_of(checkpoint: str | None, revision: str | None, whole: bool) -> Path:
    """The directory of `checkpoint`, a directory or an id of the hub: in its cache, else downloaded
    there, only the configuration unless `whole`. Raises PolicyError."""
    if not checkpoint:
        raise PolicyError(
            "policy lerobot needs a checkpoint: add `checkpoint:`, the directory that "
            "save_pretrained wrote, or an id of the hub, e.g. user/pick"
        )
    place = Path(checkpoint).expanduser()
    if place.is_dir():
        if not (place / CONFIG).is_file():
            raise PolicyError(
                f"checkpoint {checkpoint} has no {CONFIG}: name the directory that save_pretrained "
                "wrote, of a training run .../checkpoints/last/pretrained_model"
            )
        return place
    try:
        hub = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise PolicyError(_not_installed(error)) from error
    try:
        if whole:
            return Path(
                hub.snapshot_download(checkpoint, revision=revision, allow_patterns=list(PATTERNS))
            )
        return Path(hub.hf_hub_download(checkpoint, CONFIG, revision=revision)).parent
    except Exception as error:
        line = " ".join(str(error).split())
        at = f" --revision {revision}" if revision else ""
        raise PolicyError(
            f"checkpoint {checkpoint!r} is no directory here, is not in the cache of the hub, and "
            f"cannot be downloaded ({type(error).__name__}: {line:.200}): `hf download "
            f"{checkpoint}{at}` where there is a network and no HF_HUB_OFFLINE, or name its "
            "directory"
        ) from error


def _not_installed(error: ModuleNotFoundError) -> str:
    return (
        f"policy lerobot needs {error.name}, which is not installed here: `pip install lerobot`, "
        "or name the interpreter of the environment that has it by `python:` of the service"
    )


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
    inputs, outputs = config.get("input_features") or {}, config.get("output_features") or {}
    info = _info(options.dataset)
    family = family_of(config)
    try:
        actions = int(outputs["action"]["shape"][0])
        states = [f for name, f in inputs.items() if name == "observation.state"]
        count = int(states[0]["shape"][0]) if states else 0
        chunk_size = int(config[family.steps])
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
            stateful=mode == "exclusive",
            by_count=own_actions is None or (count > 0 and own_states is None),
        )
    except (TypeError, ValueError) as error:
        raise PolicyError(f"options: {error}") from error


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


def hash_of(folder: Path, *options: object) -> str:
    """SHA-256 in hex of the names and bytes of the files that a policy is loaded from, and of what
    changes it."""
    digest = hashlib.sha256(repr(options).encode())
    for path in sorted(p for pattern in PATTERNS for p in folder.glob(pattern)):
        digest.update(f"\n{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()

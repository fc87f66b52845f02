"""`Modalities`: what GR00T's clients call the parts of a policy's observations and actions. Pure.

GR00T splits a state and an action into parts by modality keys (`left_arm`, `gripper`), each a
vector. What fleet.yaml's `mapping` does not say has the keys that GR00T's own examples use:

- a camera is the key of its name;
- state and action: names with the word `gripper` (`gripper.pos`) are the key `gripper`, all others
  `single_arm`; where the names begin with `left` or `right`, `left_arm` and `left_gripper`, ...;
- the instruction is `annotation.human.task_description`.

Source: NVIDIA/Isaac-GR00T, `ModalityConfig` of N1.5 (`gr00t/data/dataset.py`, its keys with the
prefix, as JSON text) and of N1.6 (`gr00t/data/types.py`, without, as a map), and the examples for
SO-100 and GR1.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...policy.base import CameraFeature, PolicySpec
from ..runtime.client_configs import GrootDialect, GrootMapping

LANGUAGE = "annotation.human.task_description"


class Modalities:
    """The keys of a policy of `spec` with a `mapping` that fits it.

    Attributes:
        cameras: the camera of each key.
        state: the entries of the state in each key, as indices.
        action: the columns of a chunk in each key.
        language: the key of the instruction; None where the mapping does not say it.
    """

    def __init__(self, spec: PolicySpec, mapping: GrootMapping) -> None:
        keys = {camera.name: camera.name for camera in spec.cameras}
        for name, key in mapping.cameras.items():
            keys[name] = key.removeprefix("video.")
        self.cameras: dict[str, CameraFeature] = {keys[c.name]: c for c in spec.cameras}
        self.state = _split("state", spec.state_names, mapping.state)
        self.action = _split("action", spec.action_names, mapping.action)
        self.language = mapping.language
        self._horizon = spec.chunk_size

    def config(self, dialect: GrootDialect) -> dict[str, Any]:
        """What `get_modality_config` answers. A modality without a key is left away: clients of
        N1.6 refuse one."""
        steps = {"action": list(range(self._horizon))}
        found = {
            "video": list(self.cameras),
            "state": list(self.state),
            "action": list(self.action),
            "language": [self.language or LANGUAGE],
        }
        return {
            modality: _described(modality, keys, steps.get(modality, [0]), dialect)
            for modality, keys in found.items()
            if keys
        }

    def parts(self, actions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Actions [..., A] by their keys."""
        return {key: actions[..., columns] for key, columns in self.action.items()}


def mapping_faults(spec: PolicySpec, mapping: GrootMapping) -> Iterator[tuple[str, str]]:
    """What of the mapping does not fit a policy of `spec`: the place, and why."""
    cameras = [camera.name for camera in spec.cameras]
    for name in mapping.cameras:
        if name not in cameras:
            known = ", ".join(cameras) or "none"
            yield f"cameras.{name}", f"the policy {spec.model} has no camera {name!r}: {known}"
    used = [mapping.cameras.get(name, name).removeprefix("video.") for name in cameras]
    if twice := sorted({key for key in used if used.count(key) > 1}):
        yield "cameras", f"{', '.join(twice)}: several cameras have this key"
    for modality, names, given in (
        ("state", spec.state_names, mapping.state),
        ("action", spec.action_names, mapping.action),
    ):
        if given is None:
            continue
        listed = [name for part in given.values() for name in part]
        if len({key.removeprefix(f"{modality}.") for key in given}) < len(given):
            yield modality, "a key is there with and without its prefix"
        for key, part in given.items():
            if not part:
                yield f"{modality}.{key}", "no names"
            if unknown := [name for name in part if name not in names]:
                found = f"the policy {spec.model} has no {', '.join(unknown)} in its {modality}"
                yield f"{modality}.{key}", f"{found}: {', '.join(names)}"
        if twice := sorted({name for name in listed if listed.count(name) > 1}):
            yield modality, f"{', '.join(twice)}: listed more than once"
        if absent := [name for name in names if name not in listed]:
            yield modality, f"{', '.join(absent)}: in no key"


def usual_keys(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The keys that names of motors have without a mapping."""
    words = {name: re.split(r"[._\s/-]", name.lower()) for name in names}
    sided = bool(names) and all(found[0] in ("left", "right") for found in words.values())
    keys = defaultdict[str, list[str]](list)
    for name, found in words.items():
        part = "gripper" if "gripper" in found else "arm"
        side = f"{found[0]}_" if sided else "single_" if part == "arm" else ""
        keys[f"{side}{part}"].append(name)
    return {key: tuple(part) for key, part in keys.items()}


def _split(
    modality: str, names: Sequence[str], given: Mapping[str, Sequence[str]] | None
) -> dict[str, list[int]]:
    keys = usual_keys(names) if given is None else given
    return {
        key.removeprefix(f"{modality}."): [names.index(name) for name in part]
        for key, part in keys.items()
    }


def _described(
    modality: str, keys: list[str], steps: list[int], dialect: GrootDialect
) -> dict[str, Any]:
    """A `ModalityConfig` as it travels. N1.6 knows it by the first mark, N1.7 by the second."""
    if dialect == "n1.5":
        long = keys if modality == "language" else [f"{modality}.{key}" for key in keys]
        text = json.dumps({"delta_indices": steps, "modality_keys": long})
        return {"__ModalityConfig_class__": True, "as_json": text}
    return {
        "__ModalityConfig_class__": True,
        "__ModalityConfig__": True,
        "as_json": {"delta_indices": steps, "modality_keys": keys},
    }

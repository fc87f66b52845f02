"""`ServerModalities`: what a server of GR00T says of its policy. Pure.

Source: NVIDIA/Isaac-GR00T: the answer to `get_modality_config` has a `ModalityConfig` for each of
video, state, action and language, with `delta_indices`, steps from the observation, and
`modality_keys`: in N1.5 as JSON text and with prefixes, in N1.6 as a map, in N1.7 under another
mark.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ...errors import WireError
from .groot_arrays import ArrayForm

_MARKS = ("__ModalityConfig_class__", "__ModalityConfig__")


@dataclass(frozen=True)
class ServerModalities:
    """The keys of a server's policy, without prefixes, and how it is to be asked.

    Attributes:
        keys: by modality (video, state, action, language).
        steps: the delta indices by modality, empty for one that it lacks.
        form: how arrays are written for it.
        is_n15: whether observations are laid out as N1.5's.
    """

    keys: dict[str, tuple[str, ...]]
    steps: dict[str, tuple[int, ...]]
    form: ArrayForm
    is_n15: bool

    @classmethod
    def of(cls, answer: object) -> ServerModalities:
        """Of what `get_modality_config` answered. Raises WireError."""
        if not isinstance(answer, dict):
            raise WireError("config", f"its modality config is {type(answer).__name__}")
        keys: dict[str, tuple[str, ...]] = {}
        steps: dict[str, tuple[int, ...]] = {}
        is_n15, form = False, ArrayForm.NPY
        for modality in ("video", "state", "action", "language"):
            found = answer.get(modality, {})
            told, is_text = _fields(modality, found)
            is_n15 = is_n15 or is_text
            if isinstance(found, dict) and _MARKS[1] in found:
                form = ArrayForm.RAW
            names, indices = told.get("modality_keys", []), told.get("delta_indices", [])
            if not _all(names, str) or not _all(indices, int):
                raise WireError("config", f"its modality config says for {modality} {told!r:.80}")
            keys[modality] = tuple(name.removeprefix(f"{modality}.") for name in names)
            steps[modality] = tuple(indices)
        if not keys["action"] or steps["action"] != tuple(range(len(steps["action"]))):
            raise WireError(
                "config",
                f"its actions are {keys['action']} at the steps {steps['action']!r:.60}, expected "
                "keys, and steps from 0 on",
            )
        return cls(keys, steps, form, is_n15)

    def window(self) -> tuple[int, int]:
        """How many observations its policy sees, and the steps between two. Raises WireError for
        indices that no equal steps have."""
        needed = sorted({*self.steps["video"], *self.steps["state"], 0})
        stride = needed[-1] - needed[-2] if len(needed) > 1 else 1
        if needed[-1] != 0 or any(step % stride for step in needed):
            raise WireError(
                "config",
                f"its observations are at the steps {needed}, expected equal steps that end in 0",
            )
        return 1 - needed[0] // stride, stride


def _fields(modality: str, found: object) -> tuple[dict[str, Any], bool]:
    """The fields of a ModalityConfig, and whether they came as text."""
    told = found
    if isinstance(found, dict) and any(mark in found for mark in _MARKS):
        told = found.get("as_json")
    is_text = isinstance(told, str)
    try:
        plain = json.loads(told) if isinstance(told, str) else told
    except (ValueError, RecursionError) as error:
        raise WireError("config", f"its modality config for {modality}: {error}") from error
    if not isinstance(plain, dict):
        raise WireError("config", f"its modality config for {modality} is {plain!r:.80}")
    return plain, is_text


def _all(values: object, kind: type) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)

"""`GrootReader`: the observations of GR00T's clients, as requests need them. Pure.

A `get_action` carries one of three layouts, and is answered in the same:

- N1.5: `{"video.KEY": [T, h, w, 3], "state.KEY": [T, D], "annotation....": [text]}`, or each with a
  batch dimension before, which is so where every state has three dimensions (N1.5,
  `gr00t/model/policy.py`); the answer is `{"action.KEY": [H, D]}`, or with the batch dimension;
- nested (N1.6, `Gr00tPolicy`): `{"observation": {"video": {KEY: [B, T, h, w, 3]}, "state": {KEY:
  [B, T, D]}, "language": {KEY: [[text]]}}, "options": ...}`, and the answer `[{KEY: [B, H, D]},
  {}]`;
- flat (N1.6, `Gr00tSimPolicyWrapper`): N1.5's keys within `observation`, with the batch dimension
  and the text as [B]; the answer is `[{"action.KEY": [B, H, D]}, {}]`.

T is 1, as the modality config says. What is not needed is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import WireError
from ...policy.base import CameraFeature, PolicySpec
from ...transport.arrays import all_finite
from ...transport.images import Pixels, resize
from ...transport.limits import DEFAULT
from .groot_modalities import Modalities

MAX_ROWS = 16
"""Observations in one request."""
_MODALITIES = ("video", "state", "language")
_TEXTS = ("annotation.", "language.")
_SHOWN = 24

Row = tuple[NDArray[np.float32], dict[str, Pixels], str]
"""State, images by the policy's camera names and at its sizes, and instruction."""


class Layout(StrEnum):
    """How a request is laid out, and its answer."""

    N15 = "n1.5"
    NESTED = "nested"
    FLAT = "flat"


@dataclass(frozen=True)
class GrootAsked:
    """One request: an observation for each row, and how the answer is laid out."""

    rows: list[Row]
    layout: Layout
    batched: bool


class GrootReader:
    """Reads the observations of clients for a policy of `spec`, whose keys are `modalities`."""

    def __init__(self, spec: PolicySpec, modalities: Modalities) -> None:
        self._spec, self._modalities = spec, modalities

    def read(self, data: object) -> GrootAsked:
        """The request of a `get_action` with this `data`. Raises WireError (`observation`) that
        lists what came and what was expected."""
        layout, parts = _parts(data)
        batched = layout is not Layout.N15 or _has_batch(parts)
        count = self._rows(parts, batched)
        state = self._state(parts["state"], count, batched)
        images = {
            camera.name: self._images(key, camera, parts["video"], count, batched)
            for key, camera in self._modalities.cameras.items()
        }
        texts = self._texts(parts["language"], count)
        rows = [
            (state[k], {name: each[k] for name, each in images.items()}, texts[k])
            for k in range(count)
        ]
        return GrootAsked(rows, layout, batched)

    def answer(self, asked: GrootAsked, actions: Sequence[NDArray[np.float32]]) -> Any:
        """What a client gets for the `actions` [H, A] of each row."""
        together = np.stack(actions) if asked.batched else actions[0]
        parts = self._modalities.parts(together)
        if asked.layout is Layout.NESTED:
            return [parts, {}]
        flat = {f"action.{key}": part for key, part in parts.items()}
        return flat if asked.layout is Layout.N15 else [flat, {}]

    def _rows(self, parts: Mapping[str, Mapping[str, Any]], batched: bool) -> int:
        """How many observations there are: as the arrays that are needed say."""
        if not batched:
            return 1
        arrays = [parts["state"].get(key) for key in self._modalities.state]
        arrays += [parts["video"].get(key) for key in self._modalities.cameras]
        found = {len(each) for each in arrays if isinstance(each, np.ndarray) and each.ndim}
        if len(found) > 1:
            raise _wrong(f"batches of {', '.join(map(str, sorted(found)))}, expected one size")
        count = found.pop() if found else 1
        if not 1 <= count <= MAX_ROWS:
            raise _wrong(f"a batch of {count} observations, expected 1 to {MAX_ROWS}")
        return count

    def _state(self, parts: Mapping[str, Any], count: int, batched: bool) -> NDArray[np.float32]:
        """[rows, S] in the policy's order."""
        state = np.zeros((count, len(self._spec.state_names)), np.float32)
        for key, places in self._modalities.state.items():
            if key not in parts:
                raise self._missing("state", key, parts)
            value = _numbers(f"state.{key}", parts[key])
            if not batched:
                value = value[np.newaxis]
            if value.shape != (count, 1, len(places)):
                names = ", ".join(self._spec.state_names[k] for k in places)
                wanted = [*([count] if batched else []), 1, len(places)]
                came = _shown(parts[key])
                raise _wrong(f"state.{key} is {came}, expected {wanted} of numbers ({names})")
            with np.errstate(over="ignore"):  # what does not fit is infinite, and refused
                state[:, places] = value[:, 0]
        if not all_finite(state):
            raise _wrong("the state holds values that are not finite")
        return state

    def _images(
        self,
        key: str,
        camera: CameraFeature,
        parts: Mapping[str, Any],
        count: int,
        batched: bool,
    ) -> list[Pixels]:
        if key not in parts:
            if not len(parts) == len(self._spec.cameras) == 1:
                raise self._missing("video", key, parts)
            key = next(iter(parts))  # the one video there is, for the one camera
        value = parts[key]
        frames = value[np.newaxis] if isinstance(value, np.ndarray) and not batched else value
        if (
            not isinstance(frames, np.ndarray)
            or frames.dtype != np.uint8
            or frames.ndim != 5
            or frames.shape[:2] != (count, 1)
            or frames.shape[4] != 3
            or not all(1 <= side <= DEFAULT.max_image_width for side in frames.shape[2:4])
        ):
            wanted = f"[{f'{count}, ' if batched else ''}1, h, w, 3]"
            most = DEFAULT.max_image_width
            raise _wrong(
                f"video.{key} is {_shown(value)}, expected uint8 {wanted} of at most {most} pixels "
                "a side"
            )
        size = camera.width, camera.height
        return [resize(np.ascontiguousarray(frame[0]), *size) for frame in frames]

    def _texts(self, parts: Mapping[str, Any], count: int) -> list[str]:
        """The instruction of each row; empty without one."""
        key = self._modalities.language
        if key is not None and key not in parts:
            raise self._missing("language", key, parts)
        given = list(parts) if key is None else [key]
        texts = {each: _sentences(each, parts[each], count) for each in given}
        found = list(texts.values())
        if any(each != found[0] for each in found):
            raise _wrong(
                f"{', '.join(texts)} differ, and each may be the instruction: set "
                "`mapping.language` in fleet.yaml"
            )
        return found[0] if found else [""] * count

    def _missing(self, modality: str, key: str, came: Mapping[str, Any]) -> WireError:
        """The error for a key that the policy needs."""
        expected = {
            "video": list(self._modalities.cameras),
            "state": list(self._modalities.state),
            "language": [key],
        }[modality]
        shown = ", ".join(f"{k} {_shown(v)}" for k, v in list(came.items())[:_SHOWN]) or "nothing"
        entry = {"video": "cameras"}.get(modality, modality)
        return _wrong(
            f"no {modality}.{key} came, but: {shown}. The policy {self._spec.model} takes in "
            f"{modality} {', '.join(expected)}: send these, or set `mapping.{entry}` in fleet.yaml"
        )


def _parts(data: object) -> tuple[Layout, dict[str, dict[str, Any]]]:
    """The values of a request by modality and key."""
    if not isinstance(data, dict):
        raise _wrong(f"`data` of get_action is a map, {type(data).__name__} came")
    observation = data.get("observation")
    if observation is None:
        return Layout.N15, _by_prefix(data)
    if not isinstance(observation, dict):
        raise _wrong(f"an observation is a map, {type(observation).__name__} came")
    if not any(modality in observation for modality in _MODALITIES):
        return Layout.FLAT, _by_prefix(observation)
    parts: dict[str, dict[str, Any]] = {}
    for modality in _MODALITIES:
        found = observation.get(modality, {})
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise _wrong(f"{modality} is {_shown(found)}, expected a map of keys to arrays")
        parts[modality] = found
    return Layout.NESTED, parts


def _by_prefix(flat: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
    parts: dict[str, dict[str, Any]] = {modality: {} for modality in _MODALITIES}
    for key, value in flat.items():
        if not isinstance(key, str):
            raise _wrong(f"a key of the observation is {key!r:.40}, not text")
        modality, _, name = key.partition(".")
        if key == "task" or key.startswith(_TEXTS):
            parts["language"][key] = value
        elif modality in ("video", "state"):
            parts[modality][name] = value
    return parts


def _has_batch(parts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a request of N1.5 has a batch dimension."""
    state, video = parts["state"].values(), parts["video"].values()
    if state:
        return all(isinstance(each, np.ndarray) and each.ndim >= 3 for each in state)
    return any(isinstance(each, np.ndarray) and each.ndim >= 5 for each in video)


def _numbers(key: str, value: object) -> NDArray[Any]:
    """An array of numbers, of any shape."""
    try:
        array = np.asarray(value if isinstance(value, np.ndarray | list) else None)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise _wrong(f"{key} is {_shown(value)}, expected an array of numbers")
    return array


def _sentences(key: str, value: object, count: int) -> list[str]:
    """The text of each row."""
    found = [value] * count if isinstance(value, str) else list(_unwrapped(value))
    if len(found) != count or not all(isinstance(text, str) for text in found):
        raise _wrong(f"{key} is {_shown(value)}, expected {count} of text, [text] or [[text]]")
    longest = max(len(text) for text in found)
    if longest > DEFAULT.max_text_chars:
        most = DEFAULT.max_text_chars
        raise _wrong(f"{key} has {longest} characters, at most {most} are taken")
    return found


def _unwrapped(value: object) -> Iterator[Any]:
    """The entries of a list, without the list of one step around each."""
    for each in value if isinstance(value, list) else [value]:
        yield each[0] if isinstance(each, list) and len(each) == 1 else each


def _shown(value: object) -> str:
    """What a value is, short."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, list):
        inner = sorted({type(each).__name__ for each in value[:_SHOWN]})
        return f"a list of {len(value)} {', '.join(inner)}".rstrip()
    return type(value).__name__


def _wrong(found: str) -> WireError:
    return WireError("observation", found)

"""`ObservationReader`: a client's observation, in the keys of its own project, as a request needs
it. Pure.

Keys are paths: a map within the observation contributes `outer/inner`. What fleet.yaml's `mapping`
does not say is found by name:

- a camera is the key whose last part is its name, or is its name but for the word `image`
  (`observation/wrist_image` is `wrist`); a policy with one camera takes an observation's one image;
- the state is the key whose last part is `state`, else `joint_position` followed by
  `gripper_position` (DROID, RoboArena);
- the instruction is the key whose last part is `prompt`; it may be absent.

What is not needed is not read. An image is uint8, or floating from 0 to 1, [h, w, 3] or [3, h, w]
(ALOHA), as openpi's own policies take it (openpi, `policies/*_policy.py`, `_parse_image`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import StepError, WireError
from ...policy.base import CameraFeature, PolicySpec
from ...policy.steps import resize_with_pad
from ...transport.arrays import all_finite
from ...transport.images import Pixels, resize
from ...transport.limits import DEFAULT
from ..runtime.client_configs import ObservationMapping

_DROID = ("joint_position", "gripper_position")
_SHOWN = 24
_DEPTH = 8


class ObservationReader:
    """Reads the observations of clients for a policy of `spec`."""

    def __init__(self, spec: PolicySpec, mapping: ObservationMapping) -> None:
        self._spec, self._mapping = spec, mapping

    def read(self, observation: object) -> tuple[NDArray[np.float32], dict[str, Pixels], str]:
        """State, images by the policy's camera names and at its sizes, and instruction.

        Raises WireError (`observation`) that lists what came and what was expected.
        """
        if not isinstance(observation, dict):
            found = type(observation).__name__
            raise WireError("observation", f"an observation is a map, {found} came")
        flat = dict(_flatten(observation))
        state = self._state(flat)
        images = {camera.name: self._image(camera, flat) for camera in self._spec.cameras}
        return state, images, self._prompt(flat)

    def _state(self, flat: Mapping[str, Any]) -> NDArray[np.float32]:
        given = self._mapping.state
        if given is None:
            keys = _named(flat, "state")
            if not keys and all(_named(flat, part) for part in _DROID):
                keys = [key for part in _DROID for key in _named(flat, part)[:1]]
            elif len(keys) > 1:
                raise self._unclear("state", "the state", flat, f"{', '.join(keys)} may all be it")
        else:
            keys = [given] if isinstance(given, str) else list(given)
        missing = [key for key in keys if key not in flat]
        if missing or not keys:
            expected = ", ".join(missing) or "a key that ends in `state`"
            raise self._unclear("state", "the state", flat, f"expected {expected}")
        parts = [_numbers(key, flat[key]) for key in keys]
        state = np.concatenate(parts)
        wanted = self._spec.state_names
        if len(state) != len(wanted):
            raise WireError(
                "observation",
                f"{' and '.join(keys)} have {len(state)} values, the policy {self._spec.model} "
                f"takes {len(wanted)}: {', '.join(wanted)}",
            )
        if not all_finite(state):
            raise WireError("observation", f"{' and '.join(keys)} hold values that are not finite")
        return state

    def _image(self, camera: CameraFeature, flat: Mapping[str, Any]) -> Pixels:
        key = self._mapping.cameras.get(camera.name)
        if key is None:
            images = [k for k, v in flat.items() if isinstance(v, np.ndarray) and v.ndim == 3]
            found = (
                _called(camera.name, images)
                or (images if len(images) == len(self._spec.cameras) == 1 else [])
                or _called(camera.name, flat)[:1]  # no image, as its own error says
            )
            if len(found) != 1:
                why = f"{', '.join(found)} may all be it" if found else "no key has its name"
                raise self._unclear(f"cameras.{camera.name}", f"camera {camera.name}", flat, why)
            key = found[0]
        elif key not in flat:
            what = f"camera {camera.name}"
            raise self._unclear(f"cameras.{camera.name}", what, flat, f"expected {key}")
        pixels = _pixels(key, flat[key])
        if not self._mapping.pad:
            return resize(pixels, camera.width, camera.height)
        try:
            return resize_with_pad(pixels, camera.height, camera.width)
        except StepError as error:
            raise WireError("observation", f"{key}: {error}") from error

    def _prompt(self, flat: Mapping[str, Any]) -> str:
        key = self._mapping.prompt
        if key is None:
            key = next(iter(_named(flat, "prompt")), None)
            if key is None:
                return ""
        value = flat.get(key, "")
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if not isinstance(value, str):
            raise WireError("observation", f"{key} is {_shown(value)}, expected text")
        if len(value) > DEFAULT.max_text_chars:
            found = f"{key} has {len(value)} characters, at most {DEFAULT.max_text_chars} are taken"
            raise WireError("observation", found)
        return value

    def _unclear(self, entry: str, what: str, flat: Mapping[str, Any], why: str) -> WireError:
        """The error for a part of the observation that was not found."""
        spec = self._spec
        cameras = ", ".join(camera.name for camera in spec.cameras) or "none"
        came = ", ".join(f"{key} {_shown(value)}" for key, value in list(flat.items())[:_SHOWN])
        return WireError(
            "observation",
            f"the observation does not say which is {what} ({why}). Came: {came or 'nothing'}. "
            f"The policy {spec.model} expects cameras {cameras} and a state of "
            f"{len(spec.state_names)} values ({', '.join(spec.state_names)}): send a key of that "
            f"name, or set `mapping.{entry}` in fleet.yaml",
        )


def _flatten(value: Mapping[Any, Any], before: str = "", depth: int = 0) -> Iterator[Any]:
    """The entries of a map and of the maps within it, by path."""
    if depth > _DEPTH:
        raise WireError("observation", f"maps lie more than {_DEPTH} deep in the observation")
    for key, each in value.items():
        if not isinstance(key, str):
            raise WireError("observation", f"a key of the observation is {key!r:.40}, not text")
        path = f"{before}{key}"
        if isinstance(each, dict):
            yield from _flatten(each, f"{path}/", depth + 1)
        else:
            yield path, each


def _last(key: str) -> str:
    return key.rpartition("/")[2].rpartition(".")[2]


def _named(flat: Mapping[str, Any], name: str) -> list[str]:
    return [key for key in flat if _last(key) == name]


def _called(name: str, keys: Iterable[str]) -> list[str]:
    """The keys that the name of a camera fits best."""
    keys = list(keys)
    return (
        ([name] if name in keys else [])
        or [key for key in keys if _last(key) == name]
        or [key for key in keys if bare(_last(key)) and bare(_last(key)) == bare(name)]
    )


def bare(name: str) -> str:
    """A camera's name without the word `image`."""
    return "_".join(word for word in name.split("_") if word not in ("image", "images"))


def _numbers(key: str, value: object) -> NDArray[np.float32]:
    """A vector of numbers, float32."""
    if not isinstance(value, np.ndarray | np.generic | list | int | float):
        raise WireError("observation", f"{key} is {_shown(value)}, expected numbers")
    try:
        array = np.atleast_1d(np.asarray(value))
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf" or array.ndim != 1:
        raise WireError("observation", f"{key} is {_shown(value)}, expected a vector of numbers")
    with np.errstate(over="ignore"):  # what does not fit is infinite, and refused
        return array.astype(np.float32)


def _pixels(key: str, value: object) -> Pixels:
    """An image as uint8 [h, w, 3]."""
    if not isinstance(value, np.ndarray) or value.ndim != 3 or 0 in value.shape:
        raise WireError("observation", f"{key} is {_shown(value)}, expected an image [h, w, 3]")
    image = value
    if image.shape[2] != 3 and image.shape[0] == 3:
        image = image.transpose(1, 2, 0)
    if image.dtype.kind == "f":
        if not np.isfinite(image).all() or image.min() < 0 or image.max() > 1:
            raise WireError("observation", f"{key} is floating, and not all from 0 to 1")
        image = (255 * image).astype(np.uint8)
    most = DEFAULT.max_image_width
    if image.dtype != np.uint8 or image.shape[2] != 3 or max(image.shape[:2]) > most:
        raise WireError(
            "observation",
            f"{key} is {_shown(value)}, expected uint8 [h, w, 3] of at most {most} pixels a side",
        )
    return np.ascontiguousarray(image)


def _shown(value: object) -> str:
    """What a value is, short."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return type(value).__name__

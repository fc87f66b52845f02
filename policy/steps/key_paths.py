"""Values within nested data, by paths: a map at `observation` with an entry `image` holds what is
at `observation/image`, and so does an entry that is called `observation/image`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import StepError

_SHOWN = 24


def flattened(data: Mapping[str, Any]) -> dict[str, Any]:
    """All values by their paths."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}/{inner}": each for inner, each in flattened(value).items()}
        else:
            flat[key] = value
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Maps within maps, of values by their paths.

    >>> nested({"images/top": 1, "images/left": 2, "state": 3})
    {'images': {'top': 1, 'left': 2}, 'state': 3}
    """
    data: dict[str, Any] = {}
    for path, value in flat.items():
        *outer, last = path.split("/")
        place = data
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = value
    return data


def value_at(data: Mapping[str, Any], path: str, step: object) -> Any:
    """The value at `path`, which may be a map. Raises StepError for the `step` that needs it."""
    if path in data:
        return data[path]
    flat = flattened(data)
    if path in flat:
        return flat[path]
    raise StepError(f"{_name(step)}: there is no {path!r}; there is {_listed(flat)}")


def array_at(data: Mapping[str, Any], path: str, step: object) -> NDArray[Any]:
    """The numbers at `path`. Raises StepError for the `step` that needs them."""
    value = value_at(data, path, step)
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise unfit(step, path, value, "numbers")
    return array


def unfit(step: object, path: str, value: object, expected: str) -> StepError:
    """The error for a value that `step` cannot use."""
    return StepError(f"{_name(step)}: {path!r} is {_shown(value)}, expected {expected}")


def _name(step: object) -> str:
    return step if isinstance(step, str) else type(step).__name__


def _listed(flat: Mapping[str, Any]) -> str:
    found = [f"{key} {_shown(value)}" for key, value in list(flat.items())[:_SHOWN]]
    return ", ".join(found) or "nothing"


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return type(value).__name__

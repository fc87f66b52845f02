"""What the spaces of a Gymnasium environment hold: pictures, vectors, the range of the actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RobotError

Path = tuple[str, ...]
"""The keys on the way to one part of an observation."""


def parts(space: Any, path: Path = ()) -> Iterator[tuple[Path, int | None]]:
    """Every picture (None) and vector (its length) of an observation space, by its path in it."""
    if isinstance(getattr(space, "spaces", None), Mapping):
        for name, part in space.spaces.items():
            yield from parts(part, (*path, name))
    elif getattr(space, "shape", None) is not None and space.dtype is not None:
        picture = space.dtype == np.uint8 and len(space.shape) in (2, 3)
        yield path, None if picture else int(np.prod(space.shape, dtype=int))


def action_range(space: Any) -> tuple[list[float], list[float], int | None]:
    """The bounds of the action space, and the first action of a discrete one."""
    if hasattr(space, "n"):
        return [0.0], [float(space.n) - 1], int(getattr(space, "start", 0))
    if getattr(space, "low", None) is None or len(space.shape) != 1:
        raise RobotError(
            f"the action space is {space}: expected a Box of one dimension, or Discrete"
        )
    return [float(v) for v in space.low], [float(v) for v in space.high], None


def key_of(path: Path) -> str:
    return ".".join(path)


def part_at(observation: Any, path: Path) -> Any:
    for name in path:
        observation = observation[name]
    return observation


def rgb(picture: NDArray[Any]) -> NDArray[np.uint8]:
    if picture.ndim == 3 and picture.shape[0] in (1, 3) and picture.shape[2] not in (1, 3, 4):
        picture = np.moveaxis(picture, 0, 2)  # channels first
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        raise RobotError(
            f"a picture of {picture.dtype}{list(picture.shape)}: expected uint8[H,W,3]"
        )
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.shape[2] == 1:
        picture = np.repeat(picture, 3, axis=2)
    return picture[:, :, :3]

"""`Declared`: the observations that a script declared, and the check that one fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import arguments
from ...transport.arrays import all_finite

Sizes = dict[str, tuple[int, int]]
_SIDE = 4096
_IMAGES = 16
"""What the wire takes (transport/limits.py)."""


def sizes(argument: str, cameras: object) -> Sizes:
    """(width, height) in pixels by camera name."""
    if not isinstance(cameras, Mapping):
        raise TypeError(
            f"{argument}: {arguments.shown(cameras)}, expected {{name: (width, height)}}"
        )
    if len(cameras) > _IMAGES:
        raise ValueError(f"{argument}: {len(cameras)} cameras, at most {_IMAGES} are allowed")
    found: Sizes = {}
    for key, size in cameras.items():
        name = arguments.name(f"{argument}: the name", key)
        where = f"{argument}[{name!r}]"
        if isinstance(size, str | bytes) or not hasattr(size, "__len__") or len(size) != 2:
            raise TypeError(f"{where}: {arguments.shown(size)}, expected (width, height)")
        width, height = (
            arguments.count(f"{where}: the {side}", pixels, 1, _SIDE)
            for side, pixels in zip(("width", "height"), size, strict=True)
        )
        if width * height > 1 << 23:
            raise ValueError(f"{where}: {width} x {height}, at most 8388608 pixels are allowed")
        found[name] = (width, height)
    return found


class Declared:
    """Checks observations against what was declared: `state_names` and `cameras`."""

    def __init__(self, state_names: tuple[str, ...], cameras: Sizes) -> None:
        self._names = state_names
        self.shapes = {name: (height, width, 3) for name, (width, height) in cameras.items()}

    def state(self, observation: Mapping[str, Any]) -> NDArray[np.float32]:
        """The state, float32 [S]. Raises ValueError or TypeError that says what is wrong."""
        if not isinstance(observation, Mapping):
            raise TypeError(
                f"observation: {arguments.shown(observation)}, expected a dict with 'state'"
            )
        if "state" not in observation:
            found = ", ".join(map(str, observation)) or "nothing"
            raise ValueError(f"observation: has {found}, expected 'state' among it")
        given = observation["state"]
        wanted = f"one number for each of {', '.join(self._names)}"
        try:
            state = np.asarray(given)
        except Exception as error:  # what arrays raise that are not numpy's
            raise TypeError(f"state: {arguments.shown(given)}, expected {wanted}") from error
        if state.dtype.kind not in "fiub":
            raise TypeError(f"state: {arguments.shown(given)}, expected {wanted}")
        if state.shape != (len(self._names),):
            raise ValueError(f"state of shape {state.shape}, expected {wanted}")
        with np.errstate(over="ignore"):
            state = state.astype(np.float32)
        if not all_finite(state):
            wrong = [n for n, ok in zip(self._names, np.isfinite(state), strict=True) if not ok]
            raise ValueError(f"state: {', '.join(wrong)} not finite: {state.tolist()}")
        return state

    def images(self, observation: Mapping[str, Any]) -> dict[str, NDArray[np.uint8]]:
        """The image of each camera, uint8 [h, w, 3]."""
        given = observation.get("images", {})
        if not isinstance(given, Mapping):
            raise TypeError(f"images: {arguments.shown(given)}, expected {{name: image}}")
        return {name: self._image(name, given.get(name)) for name in self.shapes}

    def _image(self, name: str, image: object) -> NDArray[np.uint8]:
        shape = self.shapes[name]
        if isinstance(image, np.ndarray) and image.shape == shape and image.dtype == np.uint8:
            return image
        found = arguments.shown(image)
        if image is None:
            found = "no image"
        elif isinstance(image, np.ndarray):
            found = f"an image {image.dtype} {image.shape}"
        error = ValueError if image is None or isinstance(image, np.ndarray) else TypeError
        raise error(f"camera {name}: {found}, expected a numpy array uint8 {shape} RGB")

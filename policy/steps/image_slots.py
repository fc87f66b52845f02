"""`ImageSlots`: a robot's cameras in the places that a model has for images, with masks.

Source: openpi, `src/openpi/policies/*_policy.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .data_step import Data
from .key_paths import flattened, unfit, value_at

Channels = Literal["first", "last", "any"]


def as_pixels(image: Any, path: str, step: object, channels: Channels = "any") -> NDArray[np.uint8]:
    """An image as uint8 [h, w, 3]. A floating one is from 0 to 1. `channels` says where they stand:
    `any` takes a first dimension of 3 for them, as LeRobot's datasets have it. Raises StepError."""
    array = np.asarray(image)
    if array.dtype.kind == "f":
        array = (255 * array).astype(np.uint8)
    if array.dtype != np.uint8 or array.ndim != 3:
        raise unfit(step, path, image, "an image, uint8 or floating, of 3 dimensions")
    if channels == "first" or (channels == "any" and array.shape[0] == 3):
        array = array.transpose(1, 2, 0)
    if array.shape[2] != 3:
        raise unfit(step, path, image, f"3 channels ({channels})")
    return array


@dataclass(frozen=True)
class ImageSlots:
    """The maps `image` and `image_mask` with the entries `slots`, each of which is filled by the
    image at a path, or by none; all else is dropped but `state`, `actions` and `prompt`.

    Paths that are `optional` may be absent. An empty slot is black, of the size of the first one;
    its mask is False, unless `mask_empty` is False. An image below `within` that is not among
    `allowed` is an error.
    """

    slots: Mapping[str, str | None]
    optional: tuple[str, ...] = ()
    mask_empty: bool = True
    channels: Channels = "any"
    within: str = ""
    allowed: tuple[str, ...] = ()

    def __call__(self, data: Data) -> Data:
        flat = flattened(data)
        self._refuse_unknown(flat)
        images: dict[str, NDArray[np.uint8]] = {}
        masks: dict[str, np.bool_] = {}
        for slot, path in self.slots.items():
            filled = path is not None and (path in flat or path not in self.optional)
            if path is not None and filled:
                images[slot] = as_pixels(value_at(data, path, self), path, self, self.channels)
            else:
                images[slot] = np.zeros_like(next(iter(images.values())))
            masks[slot] = np.bool_(filled or not self.mask_empty)
        kept: Data = {key: data[key] for key in ("state", "actions", "prompt") if key in data}
        return {**kept, "image": images, "image_mask": masks}

    def _refuse_unknown(self, flat: Data) -> None:
        prefix = f"{self.within}/"
        for path, value in flat.items():
            if self.within and path.startswith(prefix) and path not in self.allowed:
                cameras = ", ".join(each.removeprefix(prefix) for each in self.allowed)
                raise unfit(self, path, value, f"images of {cameras} only")

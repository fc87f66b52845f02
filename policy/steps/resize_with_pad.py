"""Images at a model's size without distortion: scaled to fit, centred on black.

To the byte what `openpi_client.image_tools.resize_with_pad` makes of an RGB image, with Pillow's
bilinear filter. Its servers do the same to whatever size clients send.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import StepError
from .bilinear import bilinear
from .data_step import Data
from .key_paths import unfit, value_at


def resize_with_pad(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [..., h, w, 3] as [..., height, width, 3]; the input itself if it has that size. Raises
    StepError for images of another form, or so flat that nothing would remain of them."""
    if images.dtype != np.uint8 or images.ndim < 3 or images.shape[-1] != 3 or 0 in images.shape:
        raise unfit("resize_with_pad", "the image", images, "uint8 [..., h, w, 3]")
    if images.shape[-3:-1] == (height, width):
        return images
    flat = images.reshape(-1, *images.shape[-3:])
    padded = np.stack([_padded(image, height, width) for image in flat])
    return padded.reshape(*images.shape[:-3], height, width, 3)


def _padded(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    ratio = max(image.shape[1] / width, image.shape[0] / height)
    inner_height, inner_width = int(image.shape[0] / ratio), int(image.shape[1] / ratio)
    if not inner_height or not inner_width:
        raise StepError(
            f"resize_with_pad: an image of {image.shape[1]} x {image.shape[0]} pixels is too flat "
            f"for {width} x {height}"
        )
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    padded = np.zeros((height, width, 3), np.uint8)
    padded[top : top + inner_height, left : left + inner_width] = bilinear(
        image, inner_height, inner_width
    )
    return padded


@dataclass(frozen=True)
class ResizeImages:
    """Every image of the map `image` at `height` × `width`, padded. Source: openpi,
    `ResizeImages`."""

    height: int
    width: int

    def __call__(self, data: Data) -> Data:
        images = value_at(data, "image", self)
        if not isinstance(images, dict):
            raise unfit(self, "image", images, "a map of images")
        sized = {}
        for name, image in images.items():
            if not isinstance(image, np.ndarray):
                raise unfit(self, f"image/{name}", image, "uint8 [h, w, 3]")
            sized[name] = resize_with_pad(image, self.height, self.width)
        return {**data, "image": sized}

"""Images as the vision tower takes them.

openpi resizes with Pillow before (`steps.ResizeImages`, antialiased, in uint8); LeRobot
interpolates here, in float32 without antialiasing. Both keep the shape of what is seen, with black
around it, and then map 0 ... 255 to -1 ... 1.

Sources: openpi 15a9616, `src/openpi/models/model.py`; lerobot 0.6.1,
`policies/common/vla_utils.py`, `policies/pi05/modeling_pi05.py`.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor


def prepared(images: UInt8[Tensor, "b h w 3"], pixels: int) -> Float[Tensor, "b 3 p p"]:
    """The images at `pixels` x `pixels`, from -1 to 1."""
    x = images.permute(0, 3, 1, 2).float() / 255.0
    height, width = x.shape[2:]
    if (height, width) != (pixels, pixels):
        ratio = max(width / pixels, height / pixels)
        size = int(height / ratio), int(width / ratio)
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False).clamp(0.0, 1.0)
        above, left = (pixels - size[0]) // 2, (pixels - size[1]) // 2
        x = F.pad(x, (left, pixels - size[1] - left, above, pixels - size[0] - above))
    return x * 2.0 - 1.0

"""`PiSample`: one observation as the model takes it. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PiSample:
    """`images` uint8 [h, w, 3] by slot, `tokens` of the prompt, `state` [S] and `prefix` [P, A]
    padded to the model's sizes."""

    images: dict[str, NDArray[np.uint8]]
    tokens: list[int]
    state: NDArray[np.float32]
    prefix: NDArray[np.float32]

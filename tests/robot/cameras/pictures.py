"""Pictures of one colour, and their size."""

import numpy as np

SIZE = 64, 48
RGB = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


def picture(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), rgb, np.uint8)

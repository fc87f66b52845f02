"""`Feeds`: the newest frame of each of a robot's cameras, for one request.

Guarantees that no frame older than the bound is ever used, nor one from before the episode began: a
camera that died, or never began, makes the request impossible, and the reason names it and its age.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..transport.frames import Frame, FrameReader
from ..transport.images import resize


class StaleFrame(Exception):
    """A camera has no frame, or none that is young enough: the message says which."""


class Feeds:
    """The readers of a robot's frame rings by the names that travel.

    `age_ms`: how old each camera's frame was when it was last asked for.
    """

    def __init__(self, readers: Mapping[str, FrameReader], max_age_s: float) -> None:
        self._readers = readers
        self._max_age_ms = max_age_s * 1e3
        self.age_ms: dict[str, float] = {}

    def newest(
        self, wanted: Mapping[str, tuple[int, int] | None], now_ns: int, since_ns: int = 0
    ) -> dict[str, NDArray[np.uint8]]:
        """uint8 [h, w, 3] RGB of each wanted camera that this robot has, scaled to (w, h) where it
        says so, captured at `since_ns` or later. Raises StaleFrame."""
        frames = {n: self._read(n, size) for n, size in wanted.items() if n in self._readers}
        self.age_ms = {
            name: max(0.0, (now_ns - frame.capture_ns) / 1e6)
            for name, frame in frames.items()
            if frame is not None
        }
        unfit = [
            f"{name} has no frame" if frame is None else f"{name} is {self.age_ms[name]:.0f} ms old"
            for name, frame in frames.items()
            if frame is None or self.age_ms[name] > self._max_age_ms
        ]
        earlier = [n for n, frame in frames.items() if frame and frame.capture_ns < since_ns]
        if earlier and not unfit:
            raise StaleFrame(f"{', '.join(earlier)}: no frame of this episode yet")
        if unfit:
            raise StaleFrame(f"{', '.join(unfit)}; at most {self._max_age_ms:.0f} ms are allowed")
        return {name: frame.image for name, frame in frames.items() if frame is not None}

    def _read(self, camera: str, size: tuple[int, int] | None) -> Frame | None:
        if size is None:
            return self._readers[camera].latest()
        # Scaled straight out of shared memory: the whole picture is never copied.
        scale = partial(resize, width=size[0], height=size[1])
        return self._readers[camera].latest(transform=scale)

"""`Feeds`: the newest frame of each of a robot's cameras, for one request.

Guarantees that no frame older than the bound is ever used, nor one from before the episode began: a
camera that died, or never began, makes the request impossible, and the reason names it and its age.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...transport.frames import Frame, FrameReader
from ...transport.images import resize

Pixels = NDArray[np.uint8]
Room = Callable[[Mapping[str, tuple[int, int, int]]], dict[str, Pixels]]
"""Gives an array for each shape [h, w, c], by camera."""


class StaleFrame(Exception):
    """A camera has no frame, or none that is young enough: the message says which."""


class Feeds:
    """The readers of a robot's frame rings by the names that travel.

    `age_ms`: how old each camera's frame was when it was last asked for.
    """

    def __init__(self, readers: Mapping[str, FrameReader], max_age_s: float) -> None:
        self._readers = readers
        self._max_age_ms = max_age_s * 1e3
        self._kept: dict[str, Pixels] = {}
        self.age_ms: dict[str, float] = {}

    def newest(
        self,
        wanted: Mapping[str, tuple[int, int] | None],
        now_ns: int,
        since_ns: int = 0,
        room: Room | None = None,
    ) -> dict[str, Pixels]:
        """uint8 [h, w, 3] RGB of each wanted camera that this robot has, scaled to (w, h) where it
        says so, captured at `since_ns` or later. Raises StaleFrame.

        The pixels are put where `room` says, by default into arrays that the next call overwrites.
        """
        ours = {n: size for n, size in wanted.items() if n in self._readers}
        shapes = {n: shape for n, size in ours.items() if (shape := self._shape(n, size))}
        targets = (room or self._keep)(shapes)
        frames = {n: self._read(n, targets[n]) if n in targets else None for n in ours}
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
        return {name: targets[name] for name in frames}

    def _shape(self, camera: str, size: tuple[int, int] | None) -> tuple[int, int, int] | None:
        """Of what travels; None as long as the camera never wrote."""
        captured = self._readers[camera].shape
        if captured is None or size is None:
            return captured
        return size[1], size[0], captured[2]

    def _keep(self, shapes: Mapping[str, tuple[int, int, int]]) -> dict[str, Pixels]:
        # Kept, because fresh memory for a picture costs more than copying the picture.
        for name, shape in shapes.items():
            if name not in self._kept or self._kept[name].shape != shape:
                self._kept[name] = np.empty(shape, np.uint8)
        return {name: self._kept[name] for name in shapes}

    def _read(self, camera: str, target: Pixels) -> Frame | None:
        reader = self._readers[camera]
        if target.shape == reader.shape:
            return reader.latest(target)
        # Scaled straight out of shared memory: the whole picture is never copied.
        scale = partial(resize, width=target.shape[1], height=target.shape[0])
        frame = reader.latest(transform=scale)
        if frame is not None:
            np.copyto(target, frame.image)
        return frame

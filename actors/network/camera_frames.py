"""`CameraFrames`: the newest frame of each of a robot's cameras, for one request.

Guarantees that no frame older than the bound is used, nor one from before the episode began: a
camera without such a frame makes the request impossible, and the error names it and its age.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ...errors import FrameError, StaleFrameError
from ...transport.frames import Frame, FrameReader
from ...transport.images import Pixels, resize

Allocate = Callable[[Mapping[str, tuple[int, int, int]]], dict[str, Pixels]]
"""Returns an array for each shape [h, w, c], by camera."""
_EARLY_MS = 100.0
"""How much newer than the request a frame may be: it was captured meanwhile."""


class CameraFrames:
    """The readers of a robot's frame rings by the names that travel.

    `age_ms`: how old each camera's frame was when it was last asked for. `damaged`: how often a
    camera's ring could not be read, or held a frame of the future.
    """

    def __init__(
        self,
        readers: Mapping[str, FrameReader],
        max_age_s: float,
        sizes: Mapping[str, tuple[int, int]],
    ) -> None:
        """`sizes`: (width, height) of what each camera captures, as it is configured."""
        self._readers = readers
        self._sizes = sizes
        self._max_age_ms = max_age_s * 1e3
        self._kept: dict[str, Pixels] = {}
        self.age_ms: dict[str, float] = {}
        self.oldest_ns = 0
        """When the oldest frame of the last `newest` was captured; 0 if there was none."""
        self.damaged: Counter[str] = Counter()
        self._faults: dict[str, str] = {}

    def newest(
        self,
        wanted: Mapping[str, tuple[int, int] | None],
        now_ns: int,
        since_ns: int = 0,
        allocate: Allocate | None = None,
    ) -> dict[str, Pixels]:
        """uint8 [h, w, 3] RGB of each wanted camera that this robot has, captured at `since_ns` or
        later (monotonic ns), scaled to (w, h) where `wanted` has a size. Raises StaleFrameError.

        The arrays are those of `allocate`, by default ones that the next call overwrites.
        """
        self._faults.clear()
        ours = {n: size for n, size in wanted.items() if n in self._readers}
        shapes = {n: shape for n, size in ours.items() if (shape := self._shape(n, size))}
        targets = (allocate or self._reuse)(shapes)
        frames = {n: self._read(n, targets[n]) if n in targets else None for n in ours}
        ages_ms = {n: (now_ns - f.capture_ns) / 1e6 for n, f in frames.items() if f is not None}
        for name, age_ms in ages_ms.items():
            if age_ms < -_EARLY_MS:
                self._fault(name, "its ring is damaged: a frame is dated in the future")
        self.age_ms = {n: max(0.0, age) for n, age in ages_ms.items() if n not in self._faults}
        unfit = [
            f"{name}: {self._faults[name]}"
            if name in self._faults
            else f"{name} has no frame"
            if frame is None
            else f"{name} is {self.age_ms[name]:.0f} ms old"
            for name, frame in frames.items()
            if name not in self.age_ms or self.age_ms[name] > self._max_age_ms
        ]
        earlier = [n for n, frame in frames.items() if frame and frame.capture_ns < since_ns]
        if earlier and not unfit:
            raise StaleFrameError(f"{', '.join(earlier)}: no frame of this episode yet")
        if unfit:
            raise StaleFrameError(
                f"{', '.join(unfit)}; at most {self._max_age_ms:.0f} ms are allowed"
            )
        self.oldest_ns = min((f.capture_ns for f in frames.values() if f is not None), default=0)
        return {name: targets[name] for name in frames}

    def _shape(self, camera: str, size: tuple[int, int] | None) -> tuple[int, int, int] | None:
        """The shape of the image that travels; None while the camera has not written yet."""
        try:
            captured = self._readers[camera].shape
        except FrameError as error:
            self._fault(camera, f"its ring is damaged: {error}")
            return None
        width, height = self._sizes[camera]
        if captured is None:
            return None
        if captured != (height, width, 3):
            self._fault(camera, f"its ring holds frames of {captured}, not ({height}, {width}, 3)")
            return None
        return (size[1], size[0], 3) if size else captured

    def _fault(self, camera: str, why: str) -> None:
        self.damaged[camera] += 1
        self._faults[camera] = why

    def _reuse(self, shapes: Mapping[str, tuple[int, int, int]]) -> dict[str, Pixels]:
        # Fresh memory for an image costs more than copying the image.
        for name, shape in shapes.items():
            if name not in self._kept or self._kept[name].shape != shape:
                self._kept[name] = np.empty(shape, np.uint8)
        return {name: self._kept[name] for name in shapes}

    def _read(self, camera: str, target: Pixels) -> Frame | None:
        reader = self._readers[camera]
        if target.shape == reader.shape:
            return reader.latest(target)
        # Scaled directly from shared memory: the full-size image is never copied.
        scale = partial(resize, width=target.shape[1], height=target.shape[0])
        frame = reader.latest(transform=scale)
        if frame is not None:
            np.copyto(target, frame.image)
        return frame

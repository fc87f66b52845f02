"""Thumbnails of the cameras, read from the frame rings in shared memory and encoded on demand.

A frame is encoded at most once, on the first request for it. The sensor is not affected: readers
map its ring read-only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from ...transport.frames import FrameReader
from ...transport.images import encode_jpeg, resize

WIDTH = 320
QUALITY = 75


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A JPEG of frame `number`, captured at `capture_ns`."""

    number: int
    capture_ns: int
    jpeg: bytes

    @property
    def age_ms(self) -> int:
        return (time.monotonic_ns() - self.capture_ns) // 1_000_000


class Thumbnails:
    """The newest frame of each camera `robot/camera` of `rings`, as a small JPEG."""

    def __init__(self, rings: Mapping[str, mmap | memoryview | bytearray]) -> None:
        self.read(rings)

    def read(self, rings: Mapping[str, mmap | memoryview | bytearray]) -> None:
        """Read these from now on."""
        self._readers = {camera: FrameReader(ring) for camera, ring in rings.items()}
        self._newest: dict[str, Thumbnail] = {}

    def __contains__(self, camera: object) -> bool:
        return camera in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def newest(self, camera: str) -> Thumbnail | None:
        """The newest frame of `camera`; None as long as there was none. Raises KeyError for a
        camera that is not ours, FrameError for memory that holds no ring."""
        known = self._newest.get(camera)
        after = known.number if known else None
        frame = self._readers[camera].latest(after=after, transform=_shrink)
        if frame is None:
            return known
        fresh = Thumbnail(frame.number, frame.capture_ns, encode_jpeg(frame.image, QUALITY))
        self._newest[camera] = fresh
        return fresh


def _shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if width <= WIDTH:
        return image
    return resize(image, WIDTH, max(1, round(height * WIDTH / width)))

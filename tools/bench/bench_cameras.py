"""Three simulated cameras of a benchmark: what they see, and an actor that fills their rings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as Directory

import cv2
import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from ...actors.runtime.actor import Actor
from ...transport import segment
from ...transport.frame_ring import FrameRing
from .peers.work import CAMERAS, HEIGHT, WIDTH, marked
from .started import Started

RINGS = {name: f"bench/{name}" for name in CAMERAS}
SLOTS = 4
"""Of a camera of 30 Hz in a fleet: 0.13 s."""
_FRAME_MS = 33


def images(width: int = WIDTH, height: int = HEIGHT) -> list[NDArray[np.uint8]]:
    """What three cameras see: surfaces and edges with a sensor's noise, as hard for JPEG as that
    and not as noise alone; in a corner of each the mark of its camera."""
    rng = np.random.default_rng(0)
    seen = []
    for name in CAMERAS:
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        noisy = smooth + rng.normal(0, 3, smooth.shape)
        seen.append(marked(name, np.clip(noisy, 0, 255).astype(np.uint8)))
    return seen


class CamerasConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`rings` are segments."""

    rings: tuple[str, ...]
    width: int = WIDTH
    height: int = HEIGHT


class Cameras(Actor):
    """Three cameras at 30 Hz that see always the same."""

    kind = "holdfast.tools.bench.bench_cameras:Cameras"
    Config = CamerasConfig

    def setup(self) -> None:
        shape = (self.config.height, self.config.width, 3)
        self._rings = [FrameRing(self.segment(name), shape) for name in self.config.rings]
        self._images = images(self.config.width, self.config.height)

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self.link.fileno(), zmq.POLLIN)
        self.ready()
        while not self.stopping:
            for ring, image in zip(self._rings, self._images, strict=True):
                ring.put(image, time.monotonic_ns())
            self.board.progress()
            if poller.poll(_FRAME_MS):
                self.link.commands()


@contextmanager
def cameras(
    directory: Directory, width: int = WIDTH, height: int = HEIGHT, slots: int = SLOTS
) -> Iterator[dict[str, segment.Segment]]:
    """The rings of `slots` frames that all paths read, by segment name, and an actor that fills
    them."""
    started = Started(directory)
    try:
        for ring in RINGS.values():
            started.memory(ring, FrameRing.size_for((height, width, 3), slots))
        uses = dict.fromkeys(RINGS.values(), True)
        config = CamerasConfig(rings=tuple(uses), width=width, height=height)
        started.start(Cameras.kind, "bench/cameras", config, uses)
        yield started.segments
    finally:
        started.close()

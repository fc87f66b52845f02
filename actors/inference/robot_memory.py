"""`RobotMemory`: the memory of one robot of this host in which the images of its requests lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from mmap import mmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import FrameError, OutboxError, WireError
from ...transport.frames import FrameReader
from ...transport.images import Image, resolve
from ...transport.outbox import OutboxReader
from ..runtime.configs import InferenceConfig


class SharedImage(NamedTuple):
    """Pixels uint8 [h, w, 3] in shared memory. `still_valid`: whether all that was read of them so
    far was that image. `in_ring`: they lie in a camera's ring, which the camera writes over."""

    pixels: NDArray[np.uint8]
    still_valid: Callable[[], bool]
    in_ring: bool


class RobotMemory:
    """Readers of a robot's outbox and of the frame rings of its cameras, by their names."""

    def __init__(self, outbox: OutboxReader, rings: Mapping[str, FrameReader] | None = None):
        self.outbox = outbox
        self.rings: Mapping[str, FrameReader] = rings or {}

    def images(self, camera: str, image: Image) -> Iterator[SharedImage]:
        """Where an image of `camera` in shared memory lies: in its ring, in the outbox, or both.
        The first is to be tried first. Raises WireError once there is no further place."""
        # Cameras write over their rings within milliseconds, a robot over its outbox not before it
        # has its answer.
        in_ring = None if self._is_copied(image) else self._in_ring(camera, image)
        if in_ring is not None:
            yield in_ring
        try:
            pixels = resolve(image, [], {self.outbox.nonce: self.outbox})
        except OutboxError as error:
            raise WireError("shm-outbox", str(error)) from error
        assert image.reference is not None, "it was resolved"
        yield SharedImage(pixels, partial(self.outbox.valid, image.reference), in_ring=False)

    def _is_copied(self, image: Image) -> bool:
        """Whether the image is in the outbox."""
        return image.reference is not None and self.outbox.valid(image.reference)

    def _in_ring(self, camera: str, image: Image) -> SharedImage | None:
        ring = self.rings.get(camera)
        if ring is None or image.frame is None:
            return None
        try:
            frame = ring.find(image.frame)
        except FrameError:  # damaged: its camera formats it anew
            return None
        if frame is None or frame.image.shape != (image.height, image.width, 3):
            return None
        return SharedImage(frame.image, partial(ring.holds, image.frame), in_ring=True)

    def close(self) -> None:
        """Release the memory, so that it can be unmapped (once no view of it is left)."""
        self.outbox.close()
        self.rings = {}


def shared_memories(
    config: InferenceConfig, segment: Callable[[str], mmap]
) -> dict[str, RobotMemory]:
    """That of each robot of `config`, by its name; `segment` maps the segment of a name."""
    mapped: dict[str, RobotMemory] = {}
    for robot, outbox in config.outboxes.items():
        rings = config.rings.get(robot, {})
        readers = {camera: FrameReader(segment(name)) for camera, name in rings.items()}
        mapped[robot] = RobotMemory(OutboxReader(segment(outbox)), readers)
    return mapped

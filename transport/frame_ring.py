"""`FrameRing`: the writing end of a camera's frames in shared memory; `FrameReader` is the other.

Guarantees: frame numbers rise for as long as the memory lives, across writers; a writer killed at
any instruction neither blocks nor corrupts a reader or the next writer (see ring_layout.py).
"""

from __future__ import annotations

import secrets
from mmap import mmap

import numpy as np

from ..errors import FrameError
from .fence import fence, words
from .images import Pixels
from .ring_layout import (
    CAPTURE,
    CHANNELS,
    HEAD,
    HEAD_WORDS,
    HEIGHT,
    INCARNATION,
    LAYOUT,
    LAYOUT_VERSION,
    MAGIC,
    MAGIC_NUMBER,
    NONCE,
    NUMBER,
    SEQUENCE,
    SLOTS,
    WIDTH,
    RingMemory,
    Shape,
    geometry,
    ring_size,
)

_LAST = 1 << 61  # no writer counts that far; a damaged word may be beyond


class FrameRing:
    """The writing end: `slot()` then `publish()`, or `put()`.

    Formats fresh memory; on memory of an earlier writer it carries on with the numbers. Raises
    FrameError if that memory has another layout or shape.
    """

    def __init__(
        self,
        buffer: memoryview | mmap | bytearray,
        shape: Shape,
        slots: int = 4,
        incarnation: int = 0,
    ):
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise FrameError("the ring's memory is mapped read-only: a writer needs it writable")
        needed = self.size_for(shape, slots)
        if len(view) < needed:
            raise FrameError(
                f"a ring of {slots} frames of {shape} needs {needed} bytes, the memory has "
                f"{len(view)}: create it with FrameRing.size_for"
            )
        head = words(view, 0, HEAD_WORDS)
        if head[MAGIC] == 0:
            dimensions = (*shape, slots)
            head[LAYOUT] = LAYOUT_VERSION
            for word, value in zip((HEIGHT, WIDTH, CHANNELS, SLOTS), dimensions, strict=True):
                head[word] = value
            fence()  # a reader that finds this nonce finds this shape
            head[NONCE] = secrets.randbits(63) or 1
            fence()
            head[MAGIC] = MAGIC_NUMBER  # last: a writer killed before this leaves it unformatted
        found = geometry(head, len(view))
        if found != (shape, slots):
            raise FrameError(
                f"the memory holds a ring of {found[1]} frames of {found[0]}, not {slots} of "
                f"{shape}: restart the fleet after changing a camera's resolution"
            )
        head[INCARNATION] = incarnation
        self.shape = shape
        self.slots = slots
        self._ring = RingMemory.over(view, shape, slots)
        begun = max((int(w[SEQUENCE]) + 1) // 2 for w in self._ring.slot_words)
        self._number = max(head[HEAD], begun)
        if self._number > _LAST:
            raise FrameError(
                f"the ring's newest frame has number {self._number}: something else writes to this "
                "memory; create the segment anew"
            )
        self._open = False

    @staticmethod
    def size_for(shape: Shape, slots: int = 4) -> int:
        """Bytes of memory for `slots` frames of `shape` [height, width, channels]."""
        return ring_size(shape, slots)

    @staticmethod
    def slots_in(size: int, shape: Shape) -> int:
        """How many frames of `shape` a ring of `size` bytes holds."""
        two = ring_size(shape, 2)
        return 2 + (size - two) // (ring_size(shape, 3) - two)

    @property
    def number(self) -> int:
        """The number of the frame published last; 0 before the first."""
        return int(self._ring.head[HEAD])

    def slot(self) -> Pixels:
        """The next frame's pixels, to be filled in place and published. Their content is undefined.

        Calling it again before `publish` gives the same slot.
        """
        number = self._number + 1
        index = number % self.slots
        if not self._open:
            self._ring.slot_words[index][SEQUENCE] = 2 * number - 1
            fence()
            self._open = True
        return self._ring.images[index]

    def publish(self, capture_ns: int) -> int:
        """Make what was written to `slot()` the newest frame; return its number."""
        if not self._open:
            raise FrameError("publish without slot(): fill the array that slot() returns first")
        number = self._number + 1
        slot = self._ring.slot_words[number % self.slots]
        slot[NUMBER] = number
        slot[CAPTURE] = capture_ns
        fence()
        slot[SEQUENCE] = 2 * number
        self._ring.head[HEAD] = number
        self._number = number
        self._open = False
        return number

    def put(self, image: Pixels, capture_ns: int) -> int:
        """Copy `image`, uint8 of the ring's shape, as the newest frame; return its number."""
        if image.shape != self.shape or image.dtype != np.uint8:
            raise FrameError(
                f"an image {image.dtype} {image.shape} does not fit the ring's uint8 {self.shape}: "
                "configure the camera's width and height as it delivers them"
            )
        np.copyto(self.slot(), image)
        return self.publish(capture_ns)

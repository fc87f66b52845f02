"""`FrameRing` and `FrameReader`: a camera's frames in shared memory. One writer, many readers.

Guarantees: a reader gets the pixels of one whole frame with that frame's number and capture
instant, never a mix of two; frame numbers rise for as long as the memory lives, across writers; a
reader or a writer killed at any instruction neither blocks nor corrupts another. Readers map
read-only.

Does not guarantee: that a reader sees every frame; it is given the newest.

Layout, native-endian 64-bit words: magic, layout version, height, width, channels, slots,
incarnation of the writer, head; from byte 64 the slots, each a cache line with `sequence, number,
capture_ns` and then the uint8 pixels padded to whole cache lines.

Frame `n` (the first is 1) lives in slot `n % slots`. Its writer

1. stores sequence `2n - 1` (odd: being written), then fences: the store is visible before any new
   pixel is, so that a reader of the old frame detects it;
2. writes number, instant and pixels, then fences: they are visible before they are announced;
3. stores sequence `2n`, then head `n`.

A reader loads head `n`, finds sequence `2n` in its slot or tries again, fences, copies, fences, and
loads the sequence again: still `2n` means that no writer had begun on this slot. Numbers are never
used twice, not even that of a frame which a killed writer began, so an equal sequence word means
the same frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError
from .fence import LINE, align, fence, words
from .layout import expect
from .limits import DEFAULT

MAGIC = int.from_bytes(b"hf:frame", "little")
LAYOUT = 1
_LAST = 1 << 61  # no writer counts that far; a damaged word may be beyond
ATTEMPTS = 50  # one retry takes a writer that passed `slots - 1` frames during one copy

_MAGIC, _LAYOUT, _HEIGHT, _WIDTH, _CHANNELS, _SLOTS, _INCARNATION, _HEAD = range(8)
_SEQUENCE, _NUMBER, _CAPTURE = range(3)


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured image: uint8 [height, width, 3] RGB, its number, and its capture instant,
    `time.monotonic_ns` of this host."""

    number: int
    capture_ns: int
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class _Ring:
    """The mapped memory of a ring whose geometry is known and fits."""

    head: memoryview
    slot_words: list[memoryview]
    images: list[NDArray[np.uint8]]

    @staticmethod
    def over(buffer: memoryview, shape: tuple[int, int, int], slots: int) -> _Ring:
        pixels = shape[0] * shape[1] * shape[2]
        stride = LINE + align(pixels)
        starts = [LINE + k * stride for k in range(slots)]
        return _Ring(
            words(buffer, 0, 8),
            [words(buffer, start, 3) for start in starts],
            [
                np.frombuffer(buffer, np.uint8, pixels, start + LINE).reshape(shape)
                for start in starts
            ],
        )


class FrameRing:
    """The writing end: `slot()` then `publish()`, or `put()`.

    Formats fresh memory; on memory of an earlier writer it carries on with the numbers. Raises
    FrameError if that memory has another layout or shape.
    """

    def __init__(
        self,
        buffer: memoryview | mmap | bytearray,
        shape: tuple[int, int, int],
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
        head = words(view, 0, 8)
        if head[_MAGIC] == 0:
            geometry = (*shape, slots)
            head[_LAYOUT] = LAYOUT
            for word, value in zip((_HEIGHT, _WIDTH, _CHANNELS, _SLOTS), geometry, strict=True):
                head[word] = value
            fence()
            head[_MAGIC] = MAGIC  # last: a writer killed before this leaves unformatted memory
        found = _geometry(head, len(view))
        if found != (shape, slots):
            raise FrameError(
                f"the memory holds a ring of {found[1]} frames of {found[0]}, not {slots} of "
                f"{shape}: restart the fleet after changing a camera's resolution"
            )
        head[_INCARNATION] = incarnation
        self.shape = shape
        self.slots = slots
        self._ring = _Ring.over(view, shape, slots)
        begun = max((int(w[_SEQUENCE]) + 1) // 2 for w in self._ring.slot_words)
        self._number = max(head[_HEAD], begun)
        if self._number > _LAST:
            raise FrameError(
                f"the ring's newest frame has number {self._number}: something else writes to this "
                "memory; create the segment anew"
            )
        self._open = False

    @staticmethod
    def size_for(shape: tuple[int, int, int], slots: int = 4) -> int:
        """Bytes of memory for `slots` frames of `shape` [height, width, channels]."""
        if slots < 2 or min(shape) < 1:
            raise FrameError(
                f"a ring of {slots} frames of {shape} is impossible: it takes at least 2 slots and "
                "a shape of positive (height, width, channels)"
            )
        return LINE + slots * (LINE + align(shape[0] * shape[1] * shape[2]))

    @property
    def number(self) -> int:
        """The number of the frame published last; 0 before the first."""
        return int(self._ring.head[_HEAD])

    def slot(self) -> NDArray[np.uint8]:
        """The next frame's pixels, to be filled in place and published. Their content is undefined.

        Calling it again before `publish` gives the same slot.
        """
        number = self._number + 1
        index = number % self.slots
        if not self._open:
            self._ring.slot_words[index][_SEQUENCE] = 2 * number - 1
            fence()
            self._open = True
        return self._ring.images[index]

    def publish(self, capture_ns: int) -> int:
        """Make what was written to `slot()` the newest frame; return its number."""
        if not self._open:
            raise FrameError("publish without slot(): fill the array that slot() returns first")
        number = self._number + 1
        slot = self._ring.slot_words[number % self.slots]
        slot[_NUMBER] = number
        slot[_CAPTURE] = capture_ns
        fence()
        slot[_SEQUENCE] = 2 * number
        self._ring.head[_HEAD] = number
        self._number = number
        self._open = False
        return number

    def put(self, image: NDArray[np.uint8], capture_ns: int) -> int:
        """Copy `image`, uint8 of the ring's shape, as the newest frame; return its number."""
        if image.shape != self.shape or image.dtype != np.uint8:
            raise FrameError(
                f"an image {image.dtype} {image.shape} does not fit the ring's uint8 {self.shape}: "
                "configure the camera's width and height as it delivers them"
            )
        np.copyto(self.slot(), image)
        return self.publish(capture_ns)


class FrameReader:
    """The reading end. May attach before any writer did: there is no frame until the first one.

    `torn` counts attempts that a writer overtook (each was retried, none was returned).
    """

    def __init__(self, buffer: memoryview | mmap | bytearray):
        self._buffer = memoryview(buffer).cast("B").toreadonly()
        self._ring: _Ring | None = None
        self.torn = 0

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Height, width, channels; None as long as no writer has formatted the memory."""
        ring = self._attach()
        return None if ring is None else _shape(ring)

    @property
    def incarnation(self) -> int:
        """The incarnation of the writer that attached last."""
        ring = self._attach()
        return 0 if ring is None else int(ring.head[_INCARNATION])

    @property
    def number(self) -> int:
        """The number of the newest frame; 0 if there is none."""
        ring = self._attach()
        return 0 if ring is None else int(ring.head[_HEAD])

    def latest(
        self,
        out: NDArray[np.uint8] | None = None,
        after: int | None = None,
        transform: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    ) -> Frame | None:
        """The newest frame, or None if there is none newer than the number `after`.

        The pixels are copied to `out` if it is given (uint8, of the ring's shape), else to a new
        array; with `transform` (a resize, say) they are what it makes of the frame, in one go
        without that copy. It may see a frame that is being overwritten; its result is then dropped.
        """
        ring = self._attach()
        if ring is None:
            return None
        for _ in range(ATTEMPTS):
            number = int(ring.head[_HEAD])
            if number == 0 or (after is not None and number <= after):
                return None
            frame = self._copy(ring, number, out, transform)
            if frame is not None:
                return frame
            self.torn += 1
        return None

    def read(self, number: int, out: NDArray[np.uint8] | None = None) -> Frame | None:
        """Frame `number`, or None if it was overwritten or is not there yet."""
        ring = self._attach()
        return None if ring is None or number < 1 else self._copy(ring, number, out, None)

    def close(self) -> None:
        """Release the buffer, so that its mapping can be closed."""
        self._ring = None
        self._buffer.release()

    def _copy(
        self,
        ring: _Ring,
        number: int,
        out: NDArray[np.uint8] | None,
        transform: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None,
    ) -> Frame | None:
        index = number % len(ring.slot_words)
        slot, pixels = ring.slot_words[index], ring.images[index]
        if slot[_SEQUENCE] != 2 * number:
            return None
        fence()
        capture_ns = int(slot[_CAPTURE])
        if transform is not None:
            image = transform(pixels)
            if np.may_share_memory(image, pixels):  # a resize to the same size returns its input
                image = image.copy()
        elif out is None:
            image = pixels.copy()
        else:
            np.copyto(out, pixels)
            image = out
        fence()
        return Frame(number, capture_ns, image) if slot[_SEQUENCE] == 2 * number else None

    def _attach(self) -> _Ring | None:
        if self._ring is None:
            head = words(self._buffer, 0, 8)
            if head[_MAGIC] == 0:
                return None
            fence()
            self._ring = _Ring.over(self._buffer, *_geometry(head, len(self._buffer)))
        return self._ring


def _shape(ring: _Ring) -> tuple[int, int, int]:
    height, width, channels = ring.images[0].shape
    return height, width, channels


def _geometry(head: memoryview, size: int) -> tuple[tuple[int, int, int], int]:
    """The shape and slots that a formatted ring claims, checked against its memory."""
    height, width, channels, slots = (int(w) for w in head[_HEIGHT:_INCARNATION])
    expect(head, MAGIC, LAYOUT, "a frame ring", FrameError)
    shape = (height, width, channels)
    if (
        not 1 <= height <= DEFAULT.max_image_height
        or not 1 <= width <= DEFAULT.max_image_width
        or channels not in (1, 3, 4)
        or not 2 <= slots <= 1024
        or FrameRing.size_for(shape, slots) > size
    ):
        raise FrameError(
            f"the ring claims {slots} frames of {shape}, which is beyond the limits or its {size} "
            "bytes of memory: map the whole segment, or create it anew"
        )
    return shape, slots

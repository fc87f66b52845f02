"""`FrameReader`: the reading end of a camera's frames in shared memory. One writer, many readers.

Guarantees: a reader gets the pixels of one whole frame with that frame's number and capture
instant, never a mix of two; a reader or a writer killed at any instruction neither blocks nor
corrupts another (see ring_layout.py). Readers map read-only.

Does not guarantee: that a reader sees every frame; it is given the newest.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap

import msgspec
import numpy as np

from .fence import fence, words
from .frame_reference import FrameReference
from .images import Pixels
from .ring_layout import (
    CAPTURE,
    HEAD,
    HEAD_WORDS,
    INCARNATION,
    MAGIC,
    NONCE,
    SEQUENCE,
    RingMemory,
    Shape,
    geometry,
)

Transform = Callable[[Pixels], Pixels]

ATTEMPTS = 50  # one retry takes a writer that passed `slots - 1` frames during one copy


class Frame(msgspec.Struct, frozen=True):
    """One captured image: uint8 [height, width, 3] RGB, its number, and its capture instant,
    `time.monotonic_ns` of this host."""

    number: int
    capture_ns: int
    image: Pixels


class FrameReader:
    """The reading end. May attach before any writer did: there is no frame until the first one.

    >>> from holdfast.transport.frame_ring import FrameRing
    >>> memory = bytearray(FrameRing.size_for((2, 3, 3)))
    >>> reader = FrameReader(memory)
    >>> reader.latest() is None
    True
    >>> FrameRing(memory, (2, 3, 3)).put(np.full((2, 3, 3), 7, np.uint8), capture_ns=1_000)
    1
    >>> frame = reader.latest()
    >>> frame.number, frame.capture_ns, frame.image.shape
    (1, 1000, (2, 3, 3))

    `torn` counts attempts that a writer overtook (each was retried, none was returned).
    """

    def __init__(self, buffer: memoryview | mmap | bytearray):
        self._buffer = memoryview(buffer).cast("B").toreadonly()
        self._ring: RingMemory | None = None
        self._attached_nonce = 0
        self.torn = 0

    @property
    def shape(self) -> Shape | None:
        """Height, width, channels; None as long as no writer has formatted the memory."""
        ring = self._attach()
        return None if ring is None else ring.shape

    @property
    def incarnation(self) -> int:
        """The incarnation of the writer that attached last."""
        ring = self._attach()
        return 0 if ring is None else int(ring.head[INCARNATION])

    @property
    def nonce(self) -> int:
        """The ring's random name; 0 as long as no writer has formatted the memory."""
        ring = self._attach()
        return 0 if ring is None else int(ring.head[NONCE])

    @property
    def number(self) -> int:
        """The number of the newest frame; 0 if there is none."""
        ring = self._attach()
        return 0 if ring is None else int(ring.head[HEAD])

    def latest(
        self,
        out: Pixels | None = None,
        after: int | None = None,
        transform: Transform | None = None,
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
            number = int(ring.head[HEAD])
            if number == 0 or (after is not None and number <= after):
                return None
            frame = self._copy(ring, number, out, transform)
            if frame is not None:
                return frame
            self.torn += 1
        return None

    def read(
        self, number: int, out: Pixels | None = None, transform: Transform | None = None
    ) -> Frame | None:
        """Frame `number`, or None if it was overwritten or is not there yet; `out` and `transform`
        as in `latest`."""
        ring = self._attach()
        return None if ring is None or number < 1 else self._copy(ring, number, out, transform)

    def view(self, number: int = 0) -> Frame | None:
        """Frame `number`, by default the newest, whose pixels are a read-only view of the ring: no
        copy. None if it was overwritten or is not there yet. Ask `valid` after use."""
        ring = self._attach()
        if ring is None:
            return None
        for _ in range(ATTEMPTS):
            wanted = number or int(ring.head[HEAD])
            index = wanted % len(ring.slot_words)
            slot = ring.slot_words[index]
            if wanted and slot[SEQUENCE] == 2 * wanted:
                fence()
                # An array object of its own: a caller that sets its `shape` changes no other's.
                frame = Frame(wanted, int(slot[CAPTURE]), ring.images[index].view())
                if self.valid(frame):
                    return frame
            if number or not wanted:
                return None
        return None

    def valid(self, frame: Frame) -> bool:
        """Whether all that was read of the pixels of `view` so far is that frame's."""
        return self._is_there(frame.number)

    def reference(self, frame: Frame) -> FrameReference:
        """By what another process that maps the ring finds that frame of it."""
        return FrameReference(self.nonce, frame.number)

    def find(self, reference: FrameReference) -> Frame | None:
        """`view` of the frame that `reference` names; None for one of another ring, or of this
        memory before it was formatted anew, perhaps to another shape. Ask `holds` after use."""
        nonce = self.nonce
        if reference.number < 1 or reference.nonce != nonce:
            return None
        ring = self._attach(anew=nonce != self._attached_nonce)
        return None if ring is None else self.view(reference.number)

    def holds(self, reference: FrameReference) -> bool:
        """Whether all that was read of what `find` returned so far is that frame's."""
        number = reference.number
        return number > 0 and self._is_there(number) and reference.nonce == self.nonce

    def spare(self, number: int) -> int:
        """How many more frames the camera publishes before it writes over frame `number`; negative
        once it has."""
        ring = self._attach()
        return 0 if ring is None else number + len(ring.slot_words) - 1 - int(ring.head[HEAD])

    def captured(self) -> list[tuple[int, int]]:
        """The number and the capture instant of each frame that is there, oldest first. One that
        is overwritten meanwhile may be among them: `read` does not find it."""
        ring = self._attach()
        if ring is None:
            return []
        newest, slots = int(ring.head[HEAD]), ring.slot_words
        found = []
        for number in range(max(newest - len(slots) + 1, 1), newest + 1):
            slot = slots[number % len(slots)]
            if slot[SEQUENCE] == 2 * number:
                found.append((number, int(slot[CAPTURE])))
        return found

    def close(self) -> None:
        """Release the buffer, so that its mapping can be closed."""
        self._ring = None
        self._buffer.release()

    def _is_there(self, number: int) -> bool:
        ring = self._attach()
        if ring is None:
            return False
        fence()
        return bool(ring.slot_words[number % len(ring.slot_words)][SEQUENCE] == 2 * number)

    def _copy(
        self,
        ring: RingMemory,
        number: int,
        out: Pixels | None,
        transform: Transform | None,
    ) -> Frame | None:
        index = number % len(ring.slot_words)
        slot, pixels = ring.slot_words[index], ring.images[index]
        if slot[SEQUENCE] != 2 * number:
            return None
        fence()
        capture_ns = int(slot[CAPTURE])
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
        return Frame(number, capture_ns, image) if slot[SEQUENCE] == 2 * number else None

    def _attach(self, anew: bool = False) -> RingMemory | None:
        if self._ring is None or anew:
            head = words(self._buffer, 0, HEAD_WORDS)
            if head[MAGIC] == 0:
                return None
            fence()
            nonce = int(head[NONCE])
            fence()
            self._ring = RingMemory.over(self._buffer, *geometry(head, len(self._buffer)))
            self._attached_nonce = nonce
        return self._ring

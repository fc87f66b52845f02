"""`Outbox` and `OutboxReader`: the images of a robot's requests, in shared memory of one host.

The writer puts the images of one request, of any shapes, into the next of a few slots and sends
references. A reader on the same host views the pixels without a copy, uses them, and then asks
`valid(reference)`: True means that everything it read was that request's.

Guarantees: a reference to overwritten images, to another outbox, or outside of the memory is
refused, whatever its numbers are; neither side waits for the other; a side killed at any
instruction does not affect the other. Numbers rise for as long as the memory keeps its format.

Does not guarantee: that pixels stay while they are read, if the writer has put `slots - 1` newer
requests meanwhile. With one request in flight it never does, and `valid` proves it.

Layout, native-endian 64-bit words: magic, layout version, slots, capacity of a slot in bytes,
nonce, head; from byte 64 the slots, each a cache line with `sequence` and then `capacity` bytes.
The protocol of the sequence word is that of ring_layout.py. The nonce is random and identifies this
memory: only processes that mapped it, and those that got a reference to it, know the nonce. A
writer that finds the memory damaged formats it anew, with another nonce: from then on readers
refuse all references of before, and find those that follow.
"""

from __future__ import annotations

import secrets
from collections.abc import Hashable, Mapping
from mmap import mmap
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import OutboxError, WireError
from .fence import LINE, align, fence, words
from .layout import expect
from .limits import DEFAULT, Limits

MAGIC = int.from_bytes(b"hf:outbx", "little")
LAYOUT = 1
CHANNELS = 3

Key = TypeVar("Key", bound=Hashable)

_MAGIC, _LAYOUT, _SLOTS, _CAPACITY, _NONCE, _HEAD = range(6)


class Reference(msgspec.Struct, frozen=True, array_like=True):
    """Where an image [height, width, 3] lies: `offset` bytes into the slot of request `number`."""

    nonce: int
    number: int
    offset: int
    height: int
    width: int


class Outbox:
    """The writing end: `put()`, or `reserve()`, fill in place, `publish()`.

    `promise()` returns the references of a reservation before its arrays are filled. Readers refuse
    them as overwritten until `publish`, and always if another `reserve` comes before it.
    """

    def __init__(self, buffer: memoryview | mmap | bytearray, slots: int = 4):
        self._data = memoryview(buffer).cast("B")
        if self._data.readonly:
            raise OutboxError("the outbox's memory is mapped read-only: a writer needs it writable")
        self._head = words(self._data, 0, 6)
        if self._head[_MAGIC] == 0:
            capacity = ((len(self._data) - LINE) // slots - LINE) // LINE * LINE
            if slots < 2 or capacity < LINE:
                raise OutboxError(
                    f"{len(self._data)} bytes are too few for an outbox of {slots} slots (2 at "
                    "least): use Outbox.size_for"
                )
            self._head[_LAYOUT] = LAYOUT
            self._head[_SLOTS] = slots
            self._head[_CAPACITY] = capacity
            self._head[_NONCE] = secrets.randbits(63) or 1
            fence()
            self._head[_MAGIC] = MAGIC  # last: a writer killed before this leaves it unformatted
        self.slots, self.capacity, self.nonce = _geometry(self._head, len(self._data))
        self._sequences = _sequences(self._data, self.slots, self.capacity)
        begun = max((int(w[0]) + 1) // 2 for w in self._sequences)
        self._number = max(int(self._head[_HEAD]), begun)
        self._reserved: dict[Any, Reference] | None = None

    @staticmethod
    def size_for(capacity: int, slots: int = 4) -> int:
        """Bytes of memory for `slots` requests of at most `capacity` bytes of images each.

        Each image takes its bytes, rounded up to 64.
        """
        return LINE + slots * (LINE + align(capacity))

    def reserve(self, shapes: Mapping[Key, tuple[int, int, int]]) -> dict[Key, NDArray[np.uint8]]:
        """Arrays for a request's images, by their names, to be filled in place and published.

        Raises OutboxError if they do not fit. Drops a reservation that was not published.
        """
        number = self._number + 1
        base = _slot(number, self.slots, self.capacity) + LINE
        offset = 0
        references: dict[Key, Reference] = {}
        for name, (height, width, channels) in shapes.items():
            if min(height, width) < 1 or channels != CHANNELS:
                raise OutboxError(
                    f"image {name} has the shape {(height, width, channels)}: expected (h, w, 3)"
                )
            references[name] = Reference(self.nonce, number, offset, height, width)
            offset += align(height * width * CHANNELS)
        if offset > self.capacity:
            raise OutboxError(
                f"images of {offset} bytes in all do not fit into a slot of {self.capacity}: "
                "create the outbox with Outbox.size_for of the largest request"
            )
        self._sequences[number % self.slots][0] = 2 * number - 1
        fence()
        self._number = number  # whether it is published or not: it may have been promised
        self._reserved = references
        return {name: _pixels(self._data, base, r) for name, r in references.items()}

    def promise(self) -> dict[Any, Reference]:
        """The reference of each reserved image, by its name: readable once it is published."""
        if self._reserved is None:
            raise OutboxError("promise without reserve(): there is no image to refer to")
        return self._reserved

    def publish(self) -> dict[Any, Reference]:
        """Make the reserved images readable; return the reference of each, by its name."""
        if self._reserved is None:
            raise OutboxError("publish without reserve(): fill the arrays that it returns first")
        references, self._reserved = self._reserved, None
        number = self._number
        fence()
        self._sequences[number % self.slots][0] = 2 * number
        self._head[_HEAD] = number
        return references

    def put(self, images: Mapping[str, NDArray[np.uint8]]) -> dict[str, Reference]:
        """Copy one request's images, uint8 [h, w, 3] RGB each; return the reference of each."""
        for name, image in images.items():
            if image.ndim != 3 or image.dtype != np.uint8:
                raise OutboxError(
                    f"image {name} is {image.dtype} {image.shape}: expected uint8 (h, w, 3)"
                )
        shapes = {n: (i.shape[0], i.shape[1], i.shape[2]) for n, i in images.items()}
        for name, target in self.reserve(shapes).items():
            np.copyto(target, images[name])
        return self.publish()

    def close(self) -> None:
        """Release the buffer, so that its mapping can be closed (once no array of it is left)."""
        self._sequences.clear()
        self._head.release()


class OutboxReader:
    """The reading end. May attach before the writer did; until then it refuses every reference."""

    def __init__(self, buffer: memoryview | mmap | bytearray, limits: Limits = DEFAULT):
        self._data = memoryview(buffer).cast("B").toreadonly()
        self._limits = limits
        self._head: memoryview | None = None
        self._sequences: list[memoryview] = []
        self._slots = self._capacity = self._nonce = 0

    @property
    def nonce(self) -> int:
        """The outbox's random name; 0 as long as no writer has formatted the memory."""
        return self._nonce if self._attach() else 0

    def view(self, reference: Reference) -> NDArray[np.uint8]:
        """The image, uint8 [height, width, 3], read-only, in the writer's memory: no copy.

        Raises WireError: `shm-nonce` (another outbox), `shm-bounds` (outside of a slot, or larger
        than the limits), `shm-overwritten` (gone, or never there). Call `valid` after use.
        """
        r = reference
        if not self._attach() or r.nonce != self._nonce:
            raise WireError("shm-nonce", "a reference to another outbox than the one mapped here")
        if not (
            1 <= r.height <= self._limits.max_image_height
            and 1 <= r.width <= self._limits.max_image_width
            and 0 <= r.offset <= self._capacity - r.height * r.width * CHANNELS
            and r.number >= 1
        ):
            raise WireError(
                "shm-bounds",
                f"a reference to {r.width} x {r.height} pixels at byte {r.offset} of request "
                f"{r.number} lies outside of a slot of {self._capacity} bytes",
            )
        if not self.valid(r):
            raise WireError("shm-overwritten", f"the images of request {r.number} are not there")
        return _pixels(self._data, _slot(r.number, self._slots, self._capacity) + LINE, r)

    def valid(self, reference: Reference) -> bool:
        """Whether all that was read through `view(reference)` so far is that request's image. Of
        damaged memory False."""
        try:
            if not self._attach() or reference.nonce != self._nonce:
                return False
        except OutboxError:
            return False
        assert self._head is not None, "it is attached"
        fence()
        same = self._sequences[reference.number % self._slots][0] == 2 * reference.number
        fence()
        return bool(same and self._head[_NONCE] == reference.nonce)

    def close(self) -> None:
        """Release the buffer, so that its mapping can be closed (once no view of it is left)."""
        self._head = None
        self._sequences.clear()

    def _attach(self) -> bool:
        """Whether a writer has formatted the memory, perhaps anew. Raises OutboxError for what is
        no outbox."""
        if self._head is None:
            self._head = words(self._data, 0, 6)
        head = self._head
        if not self._sequences or head[_NONCE] != self._nonce:
            self._sequences.clear()
            if head[_MAGIC] == 0:
                return False
            fence()
            self._slots, self._capacity, self._nonce = _geometry(head, len(self._data))
            self._sequences = _sequences(self._data, self._slots, self._capacity)
        return True


def _slot(number: int, slots: int, capacity: int) -> int:
    return LINE + (number % slots) * (LINE + capacity)


def _sequences(data: memoryview, slots: int, capacity: int) -> list[memoryview]:
    return [words(data, _slot(k, slots, capacity), 1) for k in range(slots)]


def _pixels(data: memoryview, base: int, reference: Reference) -> NDArray[np.uint8]:
    shape = (reference.height, reference.width, CHANNELS)
    count = reference.height * reference.width * CHANNELS
    return np.frombuffer(data, np.uint8, count, base + reference.offset).reshape(shape)


def _geometry(head: memoryview, size: int) -> tuple[int, int, int]:
    """Slots, capacity and nonce that a formatted outbox claims, checked against its memory."""
    slots, capacity, nonce = (int(w) for w in head[_SLOTS:_HEAD])
    expect(head, MAGIC, LAYOUT, "an outbox", OutboxError)
    if not 2 <= slots <= 1024 or capacity % LINE or LINE + slots * (LINE + capacity) > size:
        raise OutboxError(
            f"the outbox claims {slots} slots of {capacity} bytes, which do not fit into its "
            f"{size} bytes of memory: map the whole segment, or create it anew"
        )
    return slots, capacity, nonce

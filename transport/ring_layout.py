"""The memory of a camera's frame ring, which one writer and many readers share.

Layout, native-endian 64-bit words: magic, layout version, height, width, channels, slots,
incarnation of the writer, head, nonce; from byte 128 the slots, each a cache line with `sequence,
number, capture_ns` and then the uint8 pixels padded to whole cache lines. The nonce is random and
identifies this memory: who names a frame names the nonce too.

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

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..errors import FrameError
from .fence import LINE, align, words
from .images import Pixels
from .layout import expect
from .limits import DEFAULT

MAGIC_NUMBER = int.from_bytes(b"hf:frame", "little")
LAYOUT_VERSION = 2

# Words of the head, and of a slot.
MAGIC, LAYOUT, HEIGHT, WIDTH, CHANNELS, SLOTS, INCARNATION, HEAD, NONCE = range(9)
SEQUENCE, NUMBER, CAPTURE = range(3)
HEAD_WORDS = 9
_HEAD_BYTES = 2 * LINE

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class RingMemory:
    """The mapped memory of a ring of `shape` [height, width, channels], whose geometry fits."""

    shape: Shape
    head: memoryview
    slot_words: list[memoryview]
    images: list[Pixels]

    @classmethod
    def over(cls, buffer: memoryview, shape: Shape, slots: int) -> Self:
        """Map `slots` slots of `shape` in `buffer`, which is large enough."""
        pixels = shape[0] * shape[1] * shape[2]
        stride = LINE + align(pixels)
        starts = [_HEAD_BYTES + k * stride for k in range(slots)]
        return cls(
            shape,
            words(buffer, 0, HEAD_WORDS),
            [words(buffer, start, 3) for start in starts],
            [
                np.frombuffer(buffer, np.uint8, pixels, start + LINE).reshape(shape)
                for start in starts
            ],
        )


def ring_size(shape: Shape, slots: int) -> int:
    """Bytes of memory for `slots` frames of `shape`. Raises FrameError for impossible ones."""
    if slots < 2 or min(shape) < 1:
        raise FrameError(
            f"a ring of {slots} frames of {shape} is impossible: it takes at least 2 slots and "
            "a shape of positive (height, width, channels)"
        )
    return _HEAD_BYTES + slots * (LINE + align(shape[0] * shape[1] * shape[2]))


def geometry(head: memoryview, size: int) -> tuple[Shape, int]:
    """The shape and slots that a formatted ring claims, checked against its memory."""
    height, width, channels, slots = (int(w) for w in head[HEIGHT:INCARNATION])
    expect(head, MAGIC_NUMBER, LAYOUT_VERSION, "a frame ring", FrameError)
    shape = (height, width, channels)
    if (
        not 1 <= height <= DEFAULT.max_image_height
        or not 1 <= width <= DEFAULT.max_image_width
        or channels not in (1, 3, 4)
        or not 2 <= slots <= 1024
        or ring_size(shape, slots) > size
    ):
        raise FrameError(
            f"the ring claims {slots} frames of {shape}, which is beyond the limits or its {size} "
            "bytes of memory: map the whole segment, or create it anew"
        )
    return shape, slots

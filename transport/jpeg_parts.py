"""One JPEG of two that were encoded apart, so that two threads share the work of one image.

Guarantees: every decoder makes the same pixels of it as of the image's own JPEG, bit for bit. At a
restart marker a decoder begins anew, as the encoder of the lower part did (ITU-T T.81, B.2.4.4 and
E.1.4), and rows are divided between whole blocks only.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_BLOCK = 16
"""Rows, and columns, of a minimum coded unit at 4:2:0."""
_LEAST = 8 * _BLOCK
"""Smaller images are not worth it."""
_SOF, _SOS = 0xC0, 0xDA
_RESTART = b"\xff\xd0"
_INTERVAL = b"\xff\xdd\x00\x04"


class _Places(NamedTuple):
    """Where a JPEG's frame header and its only scan's header begin, and where its data does."""

    frame: int
    scan: int
    data: int


def middle_row(height: int) -> int:
    """The row at which an image is to be divided; 0 for one that is not."""
    if height < _LEAST:
        return 0
    # The upper part is not the smaller one: after as many units there would be another marker.
    return -(-height // (2 * _BLOCK)) * _BLOCK


def joined(upper: bytes, lower: bytes, height: int) -> bytes:
    """The JPEG of the image whose rows up to `middle_row(height)` are `upper` and whose others are
    `lower`: both baseline, 4:2:0, and of the same quality."""
    places = _places(upper)
    head = bytearray(upper[: places.scan])
    _, width = struct.unpack_from(">HH", head, places.frame + 5)
    struct.pack_into(">H", head, places.frame + 5, height)
    units = -(-width // _BLOCK) * (middle_row(height) // _BLOCK)
    interval = _INTERVAL + struct.pack(">H", units)
    rest = memoryview(lower)[_places(lower).data :]
    return b"".join((head, interval, memoryview(upper)[places.scan : -2], _RESTART, rest))


def _places(data: bytes) -> _Places:
    """Of a JPEG that was encoded here."""
    frame, at = 0, 2
    while True:
        marker = data[at + 1]
        after = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if marker == _SOF:
            frame = at
        elif marker == _SOS:
            return _Places(frame, at, after)
        at = after

"""`FrameReference`: a frame in a camera's ring, as a request names it."""

from __future__ import annotations

import msgspec


class FrameReference(msgspec.Struct, frozen=True, array_like=True):
    """Frame `number` of the ring whose memory has that random `nonce`."""

    nonce: int
    number: int

"""`Encoding`: how recorded images are encoded, and `Archiving`: how saved videos are encoded anew.
Imports no codec, so that a check of it is light."""

from __future__ import annotations

from typing import Literal

import msgspec

Codec = Literal["h264", "auto", "hevc"]
ArchiveCodec = Literal["av1"]
"""Too slow for images while they come, and small."""


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """`quality` is the encoder's CRF or QP, the less the better; every `key_every`-th frame can be
    decoded alone; `threads` bounds those of one encoder. With `auto`, a hardware encoder that has
    encoded a frame here is used, and x264 where there is none."""

    codec: Codec = "h264"
    quality: int = 23
    threads: int = 1
    key_every: int = 10


class Archiving(msgspec.Struct, frozen=True, kw_only=True):
    """`quality` is the encoder's CRF, which is lowered for a video that it would change too much;
    `threads` and `key_every` are those of Encoding."""

    codec: ArchiveCodec = "av1"
    quality: int = 30
    threads: int = 1
    key_every: int = 10

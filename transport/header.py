"""The first frame of every message: fixed, packed, little-endian, 32 bytes.

Routing and correlation read this and nothing else. Layout: magic `HFST`, schema version u8, kind
u8, flags u16 (0; receivers ignore unknown bits), seq u64, episode u32, epoch u32, token u64.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from ..errors import WireError

MAGIC = b"HFST"
VERSION = 1
VERSIONS = (1, 1)
"""The lowest and the highest schema version this code speaks."""


class Kind(IntEnum):
    """What a message is, and so which type its body has."""

    OPEN = 1
    ACCEPT = 2
    REJECT = 3
    CLOSE = 4
    RESET = 5
    REQUEST = 6
    REPLY = 7
    ERROR = 8
    EVENT = 9
    HEARTBEAT = 10
    INQUIRY = 11
    VERDICT = 12
    REGISTER = 32
    WELCOME = 33
    DRAIN = 34
    ENROL = 48
    ENROLLED = 49
    KEYS = 50
    STOPS = 64


_LAYOUT = Struct("<4sBBHQIIQ")
_KINDS = {int(kind): kind for kind in Kind}
SIZE = _LAYOUT.size


class Header(NamedTuple):
    """What a message is and belongs to. A reply echoes its request's seq, episode, epoch and token.

    `token` is the sender's monotonic instant in ns or whatever else it likes: only the sender may
    read a meaning into it.
    """

    kind: Kind
    seq: int = 0
    episode: int = 0
    epoch: int = 0
    token: int = 0
    flags: int = 0
    version: int = VERSION

    def pack(self) -> bytes:
        """The 32 bytes. Raises WireError("header") if a number does not fit its field."""
        try:
            return _LAYOUT.pack(
                MAGIC,
                self.version,
                self.kind,
                self.flags,
                self.seq,
                self.episode,
                self.epoch,
                self.token,
            )
        except Exception as error:
            raise WireError("header", f"{self} cannot be packed: {error}") from error

    @classmethod
    def unpack(cls, buffer: bytes | bytearray | memoryview) -> Header:
        """Read a header. Raises WireError: `header` (not one), `version`, `kind` (unknown)."""
        if len(buffer) != SIZE:
            raise WireError("header", f"a header of {len(buffer)} bytes; it has {SIZE}")
        magic, version, kind, flags, seq, episode, epoch, token = _LAYOUT.unpack(buffer)
        if magic != MAGIC:
            raise WireError("header", f"a header that begins with {magic!r} instead of {MAGIC!r}")
        if not VERSIONS[0] <= version <= VERSIONS[1]:
            raise WireError("version", f"schema version {version}; this side speaks {VERSIONS}")
        known = _KINDS.get(kind)
        if known is None:
            raise WireError("kind", f"message kind {kind} is unknown to this version")
        return cls(known, seq, episode, epoch, token, flags, version)

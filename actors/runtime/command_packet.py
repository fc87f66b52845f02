"""A command for an actor as the packet that carries it, within its bounds."""

from __future__ import annotations

import msgspec

from ...errors import WireError
from ...transport import nesting
from .link_messages import Command

MAX_COMMAND = 64 * 1024
"""Bytes of the largest command."""
MAX_NESTING = 32
"""How deep maps and lists may be nested in a command."""

_encode = msgspec.msgpack.Encoder().encode


def packed(command: Command) -> bytes:
    """Its packet. Raises ValueError for one that cannot be encoded or is too large."""
    try:
        packet = _encode(command)
        nesting.check(packet, MAX_NESTING)
    except (ValueError, OverflowError, RecursionError, WireError) as error:
        raise ValueError(f"it cannot be written down: {error}") from error
    if len(packet) > MAX_COMMAND:
        raise ValueError(f"it takes {len(packet)} bytes, at most {MAX_COMMAND} are allowed")
    return packet

"""What the control tells the world: the newest action, as a fixed block of bytes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError

MAGIC = b"HFCMD\0\0\1"
_BLOCK = struct.Struct("<8sq5d")
SIZE = _BLOCK.size


def pack(action: NDArray[Any], instant_ns: int) -> bytes:
    """`action` [5] in SPEC.action_names' order, given at `instant_ns`."""
    return _BLOCK.pack(MAGIC, instant_ns, *map(float, action))


def unpack(block: bytes | memoryview) -> tuple[NDArray[np.float64], int]:
    """The action [5] and when it was given. Raises RobotError when `block` is no command."""
    if len(block) != SIZE or bytes(block[:8]) != MAGIC:
        raise RobotError(
            f"a command of {len(block)} bytes that begins {bytes(block[:8])!r}, expected {SIZE} "
            f"bytes and {MAGIC!r}: run world and control from the same version of holdfast"
        )
    _, instant_ns, *action = _BLOCK.unpack(block)
    return np.array(action), instant_ns

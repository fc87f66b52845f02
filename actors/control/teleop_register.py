"""What a teleoperator says to its robot's control loop: one block of bytes in a register.

Written after every reading of the device, and when its phase changes; a block whose instant stands
still is of a device that is gone. Native-endian, without a checksum: the register that holds it has
one. A block of another form is refused by RobotError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from ...robot.teleoperator import BUTTONS

Floats = NDArray[np.float32]

_BLOCK = struct.Struct(f"=8sQqI{len(BUTTONS)}I")
_MAGIC = b"hf:telop"


class Presses(NamedTuple):
    """How often each button was pressed, counted up over all incarnations; in BUTTONS' order."""

    take_over: int = 0
    success: int = 0
    failure: int = 0
    rerecord: int = 0
    stop: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TeleopReading:
    """`action` [A] is what the person wants now, in the order of the robot's actions, read at
    `instant_ns` (0: not yet); `presses` counts the buttons."""

    incarnation: int
    instant_ns: int
    action: Floats
    presses: Presses = field(default_factory=Presses)


def teleop_bytes(values: int) -> int:
    """What a packed reading of `values` numbers takes."""
    return _BLOCK.size + 4 * values


def pack_reading(said: TeleopReading) -> bytes:
    """`said` as bytes."""
    counts = (count & 0xFFFFFFFF for count in said.presses)
    head = _BLOCK.pack(_MAGIC, said.incarnation, said.instant_ns, len(said.action), *counts)
    return head + said.action.tobytes()


def unpack_reading(block: bytes, values: int) -> TeleopReading:
    """The reading of `values` numbers in `block`, read-only. Raises RobotError when it is none."""
    try:
        magic, incarnation, instant_ns, count, *presses = _BLOCK.unpack_from(block)
        if magic != _MAGIC or count != values or len(block) != teleop_bytes(values):
            raise ValueError
    except (struct.error, ValueError):
        raise RobotError(
            f"a reading of {len(block)} bytes that begins {bytes(block[:8])!r} is none of {values} "
            "numbers: run teleoperator and control from the same version of holdfast"
        ) from None
    action = np.frombuffer(block, np.float32, values, _BLOCK.size)
    return TeleopReading(incarnation, instant_ns, action, Presses(*presses))

"""What a robot's driver and its control say to each other: two blocks of bytes, each in a register.

The driver publishes its `RobotState` after every measurement, and whenever its phase changes. The
control loop writes a `RobotCommand` at every tick, also when there is nothing to command: that is
its sign of life. Both blocks are native-endian and begin with a magic word; a block of another
form is refused by RobotError. They carry no checksum: the register that holds one sees to it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from ...robot.base import Episode

Floats = NDArray[np.float32]

TEXT_BYTES = 8192
"""Of a task, which has at most 2048 characters; a longer one is cut."""
REASON_BYTES = 1024

_STATE = struct.Struct("=8sQqqBxxxIqIII")
_STATE_MAGIC = b"hf:state"
_COMMAND = struct.Struct("=8sQQqqBxxxI")
_COMMAND_MAGIC = b"hf:comnd"
_NO_EPISODE = -1


class DriverPhase(IntEnum):
    """How far a driver is with its robot."""

    OPENING = 0
    """The device is not open: absent, lost, or being opened."""
    ATTACHED = 1
    """It is measured; nothing was commanded through this connection yet."""
    ENABLED = 2
    """Commands flow."""
    HOLDING = 3
    """Commands flowed and have ended: the robot keeps its pose."""
    PARKING = 4
    """It moves to its parked pose, a step for each command."""
    PARKED = 5
    STOPPED = 6
    """By the emergency stop."""


class CommandKind(IntEnum):
    """What the control loop says at a tick."""

    ALIVE = 0
    """The control loop runs, and commands nothing."""
    ACTION = 1
    PARK = 2
    """Take one step towards the parked pose."""


@dataclass(frozen=True, slots=True, eq=False)
class RobotState:
    """`incarnation` is the driver's; `measured_ns` the instant of `state` [S], 0 before the first;
    `refused` counts the commands that this incarnation refused by its limits, and `reason` says why
    the last one was refused or why the device is not open, empty if neither is so."""

    incarnation: int
    measured_ns: int
    published_ns: int
    phase: DriverPhase
    state: Floats
    errors: int = 0
    refused: int = 0
    episode: Episode | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RobotCommand:
    """`incarnation` is control's, `sequence` counts its ticks up; the command was made at
    `instant_ns` and is void from `deadline_ns` on. `action` [A] counts for ACTION only."""

    incarnation: int
    sequence: int
    instant_ns: int
    deadline_ns: int
    kind: CommandKind
    action: Floats


def state_bytes(values: int) -> int:
    """The most that a packed state of `values` numbers takes."""
    return _STATE.size + 4 * values + TEXT_BYTES + REASON_BYTES


def command_bytes(values: int) -> int:
    """What a packed command of `values` numbers takes."""
    return _COMMAND.size + 4 * values


def pack_state(said: RobotState) -> bytes:
    """`said` as bytes."""
    episode = said.episode
    task = _cut(episode.task if episode else "", TEXT_BYTES)
    reason = _cut(said.reason, REASON_BYTES)
    head = _STATE.pack(
        _STATE_MAGIC,
        said.incarnation,
        said.measured_ns,
        said.published_ns,
        said.phase,
        said.errors & 0xFFFFFFFF,
        episode.number if episode else _NO_EPISODE,
        said.refused & 0xFFFFFFFF,
        len(task),
        len(reason),
    )
    return b"".join((head, said.state.tobytes(), task, reason))


def unpack_state(block: bytes, values: int) -> RobotState:
    """The state of `values` numbers in `block`, read-only. Raises RobotError when it is none."""
    try:
        magic, incarnation, measured, published, phase, errors, number, refused, task, reason = (
            _STATE.unpack_from(block)
        )
        end = _STATE.size + 4 * values
        if magic != _STATE_MAGIC or len(block) != end + task + reason:
            raise ValueError
        state = np.frombuffer(block, np.float32, values, _STATE.size)
        text = block[end : end + task].decode("utf-8")
        return RobotState(
            incarnation,
            measured,
            published,
            DriverPhase(phase),
            state,
            errors,
            refused,
            None if number == _NO_EPISODE else Episode(number, text),
            block[end + task :].decode("utf-8"),
        )
    except (struct.error, ValueError):
        raise _misfit("state", block, values) from None


def pack_command(said: RobotCommand) -> bytes:
    """`said` as bytes."""
    head = _COMMAND.pack(
        _COMMAND_MAGIC,
        said.incarnation,
        said.sequence,
        said.instant_ns,
        said.deadline_ns,
        said.kind,
        len(said.action),
    )
    return head + said.action.tobytes()


def unpack_command(block: bytes, values: int) -> RobotCommand:
    """The command of `values` numbers in `block`, read-only. Raises RobotError when it is none."""
    try:
        magic, incarnation, sequence, instant, deadline, kind, count = _COMMAND.unpack_from(block)
        if magic != _COMMAND_MAGIC or count != values or len(block) != command_bytes(values):
            raise ValueError
        action = np.frombuffer(block, np.float32, values, _COMMAND.size)
        return RobotCommand(incarnation, sequence, instant, deadline, CommandKind(kind), action)
    except (struct.error, ValueError):
        raise _misfit("command", block, values) from None


def _cut(text: str, most: int) -> bytes:
    """`text` in at most `most` bytes, whole characters only."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").encode()


def _misfit(what: str, block: bytes, values: int) -> RobotError:
    return RobotError(
        f"a {what} of {len(block)} bytes that begins {bytes(block[:8])!r} is none of {values} "
        "numbers: run driver and control from the same version of holdfast"
    )

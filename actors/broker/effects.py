"""What goes into the routing core, received messages, and what comes out of it: effects.

Frames are opaque to the core: requests and replies pass through as they came, and only control
messages have their bodies decoded, by the shell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...transport.bodies import Body
from ...transport.header import Header

Frames = Sequence[Any]
"""A message as it was received, header frame first."""


class Received(msgspec.Struct, frozen=True):
    """One message within the limits. `body` is decoded for the kinds that the core acts on."""

    header: Header
    frames: Frames
    body: Body | None = None


class ToRobot(msgspec.Struct, frozen=True):
    """Send to the robot at `identity`: frames that are passed on, or a body of the broker's own."""

    identity: bytes
    header: Header
    payload: Frames | Body


class ToReplica(msgspec.Struct, frozen=True):
    """Send to the replica at `identity`; `robot` is the frame ahead of the header, empty where the
    message is about the replica itself."""

    identity: bytes
    robot: str
    header: Header
    payload: Frames | Body


class Log(msgspec.Struct, frozen=True):
    """One log line. `suppressed`: how many of the same event were left out since the last one."""

    level: int
    event: str
    fields: dict[str, Any]
    suppressed: int = 0


class Answered(msgspec.Struct, frozen=True):
    """A request that was answered at `at_ns` (monotonic), `held_ns` after it had come. `failed`:
    the replicas that died or hung with it."""

    robot: str
    session: str
    header: Header
    outcome: str
    replica: str
    at_ns: int
    held_ns: int
    failed: tuple[str, ...]


Effect = ToRobot | ToReplica | Log

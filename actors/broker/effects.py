"""What goes into the routing core and what comes out of it: messages in, effects out.

The core never sees a socket. Frames are opaque to it: what a robot's request contains passes
through as it came, and only control messages have their bodies decoded (by the shell).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...transport.header import Header
from ...transport.messages import Body

Frames = Sequence[Any]
"""A message as it was received, header frame first; handed on without a look inside."""


@dataclass(frozen=True)
class Received:
    """One message that passed the limits. `body` is decoded for kinds the broker acts upon."""

    header: Header
    frames: Frames
    body: Body | None = None


@dataclass(frozen=True)
class ToRobot:
    """Send to the robot at `identity`: either frames handed on, or the broker's own words."""

    identity: bytes
    header: Header
    payload: Frames | Body


@dataclass(frozen=True)
class ToReplica:
    """Send to the replica at `identity`; `robot` goes ahead of it, empty for the replica itself."""

    identity: bytes
    robot: str
    header: Header
    payload: Frames | Body


@dataclass(frozen=True)
class Log:
    """One line for people. `suppressed` counts the same event since it was last let through."""

    level: int
    event: str
    fields: dict[str, Any]
    suppressed: int = 0


Effect = ToRobot | ToReplica | Log

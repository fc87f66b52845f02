"""`Arrival`: one message as a listener received it, and what the routing core reads of it."""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import WireError
from ...transport import messages
from ...transport.header import Header, Kind
from ...transport.limits import DEFAULT
from .effects import Received

DECODED = frozenset(
    {
        Kind.OPEN,
        Kind.REGISTER,
        Kind.HEARTBEAT,
        Kind.DRAIN,
        Kind.ACCEPT,
        Kind.REJECT,
        Kind.EVENT,
        Kind.INQUIRY,
        Kind.VERDICT,
        Kind.STOPS,
    }
)
"""Kinds whose body the core needs; all others pass unread."""


class Arrival(msgspec.Struct, frozen=True):
    """One message as it came, without its routing id `identity`.

    `user` is the owner of the connection's key (`role:name`), `key` the public key (Z85); both are
    empty without keys. `broken` is the limit that the message exceeds, if any: `frames` are then
    not complete.
    """

    identity: bytes
    user: str
    frames: list[Any]
    broken: str = ""
    key: str = ""

    @property
    def excess(self) -> str:
        """The limit that `broken` names, in words."""
        most = {
            "frames": f"more than {DEFAULT.max_frames} frames",
            "message-bytes": f"a message of more than {DEFAULT.max_message_bytes} bytes",
        }
        return most.get(self.broken, self.broken)

    @property
    def header(self) -> Header | None:
        """The header of a robot's message; None where it cannot be read."""
        try:
            return Header.unpack(self.frames[0])
        except (WireError, IndexError):
            return None

    def from_robot(self) -> Received:
        """The message, as a robot sends it. Raises WireError."""
        return _received(self.frames)

    def from_replica(self) -> tuple[str, Received]:
        """The robot's name ahead of a replica's message, and the message. Raises WireError."""
        try:
            robot = bytes(self.frames[0]).decode()
        except (IndexError, UnicodeDecodeError) as error:
            raise WireError("robot", "a replica's message begins with the robot's name") from error
        return robot, _received(self.frames[1:])


def _received(frames: list[Any]) -> Received:
    messages.check(frames)
    header = Header.unpack(frames[0])
    read = header.kind in DECODED
    body = messages.decode(frames[:2], header=header).body if read else None
    return Received(header, frames, body)

"""The messages between the supervisor and one actor; supervisor_link.py carries them."""

from __future__ import annotations

from typing import Any

import msgspec


class Command(msgspec.Struct, frozen=True, tag="command"):
    """A command for an actor: `stop`, `pause`, `resume`, `reset`, `drain`, ... The reply carries
    its `id`.

    >>> Command("reset", {"task": "stack"}, id=7)
    Command(verb='reset', args={'task': 'stack'}, id=7)
    """

    verb: str
    args: dict[str, Any] = {}
    id: int = 0


class SegmentEntry(msgspec.Struct, frozen=True):
    """One row of the boot's segment table; its descriptor is the one at the same place."""

    name: str
    size: int
    writable: bool


class BootMessage(msgspec.Struct, frozen=True, tag="boot"):
    """Everything an actor gets at its start. The segments' descriptors come with it and, where they
    are too many, with `Descriptors` after it."""

    kind: str
    name: str
    incarnation: int
    rundir: str
    config: dict[str, Any]
    segments: tuple[SegmentEntry, ...] = ()
    release: str = ""
    """The supervisor's release of Holdfast."""
    forgiven: bool = False
    """It follows no failure of its own since a person's start: earlier ones do not count."""


class Descriptors(msgspec.Struct, frozen=True, tag="descriptors"):
    """Carries more descriptors of the boot or the reconfiguration before it."""


class LargeMessage(msgspec.Struct, frozen=True, tag="large"):
    """A boot or a reconfiguration that is too large for a packet is in the file whose descriptor
    comes first with this; those of its segments follow."""


class Reconfiguration(msgspec.Struct, frozen=True, tag="reconfigure"):
    """An actor's whole configuration, changed in what it takes over while it runs. The descriptors
    of `segments` come with it, as a boot's; `names` are those of all segments that it has now."""

    config: dict[str, Any]
    names: tuple[str, ...] = ()
    segments: tuple[SegmentEntry, ...] = ()


class ReadyMessage(msgspec.Struct, frozen=True, tag="ready"):
    """The actor's setup is done and its loop runs. `hang_timeout_s`: for how long one turn of the
    loop was measured to last; the larger of this and the configured timeout counts."""

    info: dict[str, Any] = {}
    hang_timeout_s: float = 0.0


class CommandReply(msgspec.Struct, frozen=True, tag="reply"):
    """The answer to a command: `error` is None, or why the actor did not do it."""

    id: int
    result: Any = None
    error: str | None = None


class ExitReason(msgspec.Struct, frozen=True, tag="farewell"):
    """Why the actor is about to exit, in a sentence for a person."""

    reason: str


FromSupervisor = Command | BootMessage | Descriptors | LargeMessage | Reconfiguration
FromActor = ReadyMessage | CommandReply | ExitReason

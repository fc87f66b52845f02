"""`ActorSpec`: what the supervisor knows of one actor: its kind, its configuration, its shared
memory, and the rules of its supervision."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Timeout = Annotated[float, Meta(gt=0, description="seconds, more than 0")]
Seconds = Annotated[float, Meta(ge=0, description="seconds, 0 or more")]


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one actor is supervised. It is given up when it fails more than `max_restarts` times, in
    a row or within `window_s`; being ready for `settle_s` ends such a row."""

    restart: Literal["always", "on_failure", "never"] = "always"
    start_timeout_s: Timeout = 60.0
    hang_timeout_s: Timeout = 5.0
    stop_timeout_s: Seconds = 2.0
    drain_timeout_s: Seconds = 30.0
    max_restarts: Annotated[int, Meta(ge=0, description="a whole number, 0 or more")] = 10
    window_s: Seconds = 300.0
    backoff_s: Seconds = 0.5
    max_backoff_s: Seconds = 10.0
    settle_s: Seconds = 10.0


class Member(msgspec.Struct, frozen=True):
    """One actor in the start order. `after` names those that start before it; `group` is its
    rest_for_one group. `hang_hint` is what to do about one that hung, for the message."""

    name: str
    rules: Rules = Rules()
    after: tuple[str, ...] = ()
    group: str | None = None
    hang_hint: str = ""


class SegmentUse(msgspec.Struct, frozen=True):
    """One segment that an actor maps. Its size is the same wherever the name appears."""

    name: str
    size: int
    writable: bool = False


class ActorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One actor: what the supervisor needs to start it, and how to treat it."""

    kind: str
    member: Member
    config: dict[str, Any]
    segments: tuple[SegmentUse, ...]
    robot: str | None = None
    memory_mb: int | None = None
    warm: str | None = None
    """The modules that a warm spare for this actor imports in advance, separated by commas; None:
    it starts cold."""
    python: str | None = None
    """The interpreter of its process; None for the supervisor's own. An actor of another one has no
    spare."""
    spares: int = 1
    """The most warm spares for this actor and the others of the same `warm`."""
    reconfigurable: tuple[str, ...] = ()
    """Keys of `config` whose new values its process takes over while it runs, with the segments
    that they name; a change of any other needs a new process."""

    @property
    def name(self) -> str:
        return self.member.name

"""The words of supervision: states, events and effects. No behaviour: `supervision.step`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from ..runtime.spec import Member

NEVER = float("inf")


class ActorState(StrEnum):
    """Where an actor is. WAITING is for others to get ready, or to be gone, before its start."""

    STOPPED = "STOPPED"
    WAITING = "WAITING"
    STARTING = "STARTING"
    READY = "READY"
    STOPPING = "STOPPING"
    BACKOFF = "BACKOFF"
    FAILED = "FAILED"


class ActorRecord(msgspec.Struct, frozen=True):
    """What is known of one actor. `alive` is from the spawn to the exit, whatever the state."""

    state: ActorState = ActorState.STOPPED
    wanted: bool = False
    alive: bool = False
    incarnation: int = 0
    since_s: float = 0.0
    deadline_s: float = NEVER
    progress: int = -1
    progressed_at_s: float = 0.0
    ready_at_s: float = NEVER
    hang_timeout_s: float = 0.0
    """What this incarnation said that one turn of its loop may take; its rules say the least."""
    failures: int = 0
    """In a row: none of them was ready for `settle_s`."""
    restarts: int = 0
    restarted_at_s: tuple[float, ...] = ()
    fault: str | None = None
    """Why it is being ended by force, until it is gone."""
    draining: bool = False
    """It was asked to finish what it serves; `deadline_s` is when it is asked to stop."""
    relaunch: bool = False
    """It is being ended only to start again."""
    reason: str = ""
    """Of the last failure, or why it is in this state."""
    for_ready: frozenset[str] = frozenset()
    for_gone: frozenset[str] = frozenset()


class FleetState(msgspec.Struct, frozen=True):
    """All actors of one supervisor, in start order."""

    members: dict[str, Member]
    actors: dict[str, ActorRecord]
    now_s: float
    stopping: bool = False
    hastened: bool = False
    retired: frozenset[str] = frozenset()
    """Those that a new fleet.yaml no longer has: they vanish when they are gone."""

    @property
    def gone(self) -> bool:
        """True once a fleet that was stopped has no process left."""
        return self.stopping and not any(actor.alive for actor in self.actors.values())


# Events: what happened.


class Start(msgspec.Struct, frozen=True):
    """Start these, or all when None; what failed before is forgiven."""

    names: tuple[str, ...] | None = None


class Stop(msgspec.Struct, frozen=True):
    """A person stops these; with `drain` they may first finish what they serve."""

    names: tuple[str, ...]
    drain: bool = False


class Restart(msgspec.Struct, frozen=True):
    names: tuple[str, ...]


class Reform(msgspec.Struct, frozen=True):
    """The fleet is to have these members from now on. `changed` are those whose processes must be
    replaced because what they are told at their start is different."""

    members: tuple[Member, ...]
    changed: frozenset[str]


class StopAll(msgspec.Struct, frozen=True):
    """The end: in reverse order, or all at once and by force when `hasten`."""

    hasten: bool = False


class ActorReady(msgspec.Struct, frozen=True):
    """Its loop runs. `hang_timeout_s`: one turn of it may take so long, if that is more than its
    rules say."""

    name: str
    incarnation: int
    hang_timeout_s: float = 0.0


class Exited(msgspec.Struct, frozen=True):
    """`code` is the exit status, or minus the signal, or None when no process could be made;
    `error` is the actor's own last word, or why not."""

    name: str
    incarnation: int
    code: int | None
    error: str | None = None


class Faulty(msgspec.Struct, frozen=True):
    """The shell found a reason to end this incarnation (it eats memory)."""

    name: str
    incarnation: int
    fault: str


class ClockTick(msgspec.Struct, frozen=True):
    """Time passed; `progress` is every board's count."""

    progress: Mapping[str, int] = {}


SupervisionEvent = (
    Start | Stop | Restart | Reform | StopAll | ActorReady | Exited | Faulty | ClockTick
)

# Effects: what to do.


class Spawn(msgspec.Struct, frozen=True):
    name: str
    incarnation: int


class AskToStop(msgspec.Struct, frozen=True):
    """Ask it to stop: the stop command and SIGTERM; with `drain`, the drain command only."""

    name: str
    incarnation: int
    drain: bool = False


class Kill(msgspec.Struct, frozen=True):
    """SIGKILL its whole process group."""

    name: str
    incarnation: int


class Changed(msgspec.Struct, frozen=True):
    name: str
    old: ActorState
    new: ActorState
    reason: str


SupervisionEffect = Spawn | AskToStop | Kill | Changed


def fleet_of(members: Iterable[Member], now_s: float) -> FleetState:
    """A fleet with nothing started. Raises ValueError for an `after` that is unknown or listed
    later, because the start order is the list's."""
    known = ordered(members)
    return FleetState(known, {name: ActorRecord(since_s=now_s) for name in known}, now_s)


def ordered(members: Iterable[Member]) -> dict[str, Member]:
    """Members by name, in their order. Raises ValueError as `fleet_of` does."""
    known: dict[str, Member] = {}
    for member in members:
        if member.name in known:
            raise ValueError(f"two actors are named {member.name!r}")
        missing = [name for name in member.after if name not in known]
        if missing:
            raise ValueError(f"{member.name!r} comes after {missing}, not listed before it")
        known[member.name] = member
    return known

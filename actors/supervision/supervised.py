"""The types of the supervision state machine: states, events and effects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from ..runtime.spec import Member

NEVER = float("inf")


class ActorState(StrEnum):
    """The state of an actor. WAITING: for others to be ready, or gone, before its start."""

    STOPPED = "STOPPED"
    WAITING = "WAITING"
    STARTING = "STARTING"
    READY = "READY"
    STOPPING = "STOPPING"
    BACKOFF = "BACKOFF"
    FAILED = "FAILED"


class ActorRecord(msgspec.Struct, frozen=True):
    """What is known of one actor. `alive` is true from the spawn to the exit, in any state.
    Instants are of the clock of `step`."""

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
    """The timeout that this incarnation asked for; that of its rules is the least."""
    failures: int = 0
    """In a row, without having been ready for `settle_s` in between."""
    restarts: int = 0
    restarted_at_s: tuple[float, ...] = ()
    fault: str | None = None
    """Why it is being ended by force, until it is gone."""
    draining: bool = False
    """It was asked to finish what it serves; at `deadline_s` it is asked to stop."""
    relaunch: bool = False
    """It is being ended in order to start again."""
    reason: str = ""
    """Of the last failure, or why it is in this state."""
    for_ready: frozenset[str] = frozenset()
    for_gone: frozenset[str] = frozenset()
    """The actors whose readiness, and whose end, a WAITING one waits for."""


class FleetState(msgspec.Struct, frozen=True):
    """All actors of one supervisor, in start order."""

    members: dict[str, Member]
    actors: dict[str, ActorRecord]
    now_s: float
    stopping: bool = False
    hastened: bool = False
    retired: frozenset[str] = frozenset()
    """Actors that were removed from the fleet and still have a process."""

    @property
    def gone(self) -> bool:
        """True once a fleet that was stopped has no process left."""
        return self.stopping and not any(actor.alive for actor in self.actors.values())


# Events: what happened.


class Start(msgspec.Struct, frozen=True):
    """A person starts these, or all when None; earlier failures no longer count."""

    names: tuple[str, ...] | None = None


class Stop(msgspec.Struct, frozen=True):
    """A person stops these; with `drain` they may first finish what they serve."""

    names: tuple[str, ...]
    drain: bool = False


class Restart(msgspec.Struct, frozen=True):
    """A person restarts these."""

    names: tuple[str, ...]


class Reform(msgspec.Struct, frozen=True):
    """The fleet has these members from now on. `changed` are those whose processes are replaced
    because their boot is different."""

    members: tuple[Member, ...]
    changed: frozenset[str]


class StopAll(msgspec.Struct, frozen=True):
    """Stop the fleet, in reverse start order; with `hasten`, kill all at once."""

    hasten: bool = False


class ActorReady(msgspec.Struct, frozen=True):
    """Its loop runs. `hang_timeout_s` counts if it is longer than that of its rules; a later
    message replaces it."""

    name: str
    incarnation: int
    hang_timeout_s: float = 0.0


class Exited(msgspec.Struct, frozen=True):
    """`code` is the exit status, or minus the signal, or None when no process could be made;
    `error` is the reason that the actor reported, or why no process could be made."""

    name: str
    incarnation: int
    code: int | None
    error: str | None = None


class Faulty(msgspec.Struct, frozen=True):
    """The supervisor found a reason to end this incarnation (it exceeds its memory limit)."""

    name: str
    incarnation: int
    fault: str


class ClockTick(msgspec.Struct, frozen=True):
    """Time has passed; `progress` is every board's count of turns, `calls` the call of foreign code
    that runs, where one does. `starved_s` is for how many seconds of this time an actor was ready
    to run and waited for a processor: for those `in_question`, where it is known."""

    progress: Mapping[str, int] = {}
    calls: Mapping[str, str] = {}
    starved_s: Mapping[str, float] = {}


SupervisionEvent = (
    Start | Stop | Restart | Reform | StopAll | ActorReady | Exited | Faulty | ClockTick
)

# Effects: what to do.


class Spawn(msgspec.Struct, frozen=True):
    """Start a process for this incarnation; `forgiven`: it follows no failure since a person's
    start."""

    name: str
    incarnation: int
    forgiven: bool = False


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
    """The state of an actor changed, for `reason`: to be logged."""

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

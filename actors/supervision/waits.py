"""What an actor that is not ready waits for, as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..runtime.spec import Rules
from .state_machine import FIRST_STARTS_AT_ONCE
from .supervised import NEVER, ActorRecord, ActorState


def waits_for(
    actor: ActorRecord,
    rules: Rules,
    actors: Mapping[str, ActorRecord],
    report: Mapping[str, Any] | None,
    now_s: float,
) -> str:
    """What ends the state of `actor`; empty if it waits for nothing. `report` is the one on its
    board, where an actor with a long `setup` reports its phase (`Actor.phase`)."""
    match actor.state:
        case ActorState.WAITING:
            return _others(actor, actors)
        case ActorState.STARTING:
            phase = _phase(report, actor.incarnation)
            lasted = (
                f"{max(0.0, now_s - actor.since_s):.0f} s of at most {rules.start_timeout_s:g} s"
            )
            return f"its setup, {lasted}" + (f": {phase}" if phase else "")
        case ActorState.BACKOFF:
            return f"its next start{_within(actor.deadline_s, now_s)}"
        case ActorState.STOPPING:
            what = "its robots to be handed over" if actor.draining else "its process to end"
            return f"{what}, by force{_within(actor.deadline_s, now_s)}"
    return ""


def _phase(report: Mapping[str, Any] | None, incarnation: int) -> str:
    """The phase of its setup that this incarnation reported. The board may hold any other value: of
    an earlier incarnation, or of an actor that uses the name for something else."""
    setup = (report or {}).get("setup")
    if not isinstance(setup, Mapping) or setup.get("incarnation") != incarnation:
        return ""
    return str(setup.get("phase") or "")


def _others(actor: ActorRecord, actors: Mapping[str, ActorRecord]) -> str:
    """Which of the actors before it in the start order are not ready or gone yet."""
    coming = [
        f"{name} ({actors[name].state})"
        for name in sorted(actor.for_ready)
        if name in actors and actors[name].state not in (ActorState.READY, ActorState.FAILED)
    ]
    if coming:
        return f"{', '.join(coming)} to be ready"
    going = [
        name
        for name in sorted(actor.for_gone)
        if name in actors and actors[name].state is ActorState.STOPPING
    ]
    if going:
        return f"{', '.join(going)} to be gone"
    return f"its turn: at most {FIRST_STARTS_AT_ONCE} start at once"


def _within(deadline_s: float, now_s: float) -> str:
    return "" if deadline_s == NEVER else f" in {max(0.0, deadline_s - now_s):.1f} s"

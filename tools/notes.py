"""What a status says in sentences: what is wrong first, then what is waited for, then warnings.
Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from ..actors.supervision.health import cause, refusal, unlogged

_COMING = (
    "WAITING",
    "STARTING",
    "STOPPING",
    "CONNECTING",
    "DEGRADED",
    "OPEN",
    "MOVING",
    "DRAINING",
)
_WELL = ("READY", "STREAMING")


class Weight(IntEnum):
    """How much a note matters, the most first."""

    WRONG = 0
    WAITS = 1
    WARNS = 2
    INTENDED = 3
    """As a person wanted it: stopped, paused."""


class Note(NamedTuple):
    """A sentence about one actor, robot or replica."""

    weight: Weight
    name: str
    text: str


def notes(status: dict[str, Any]) -> list[Note]:
    """All of them, by weight; within one weight in the order of the tables."""
    return sorted(_notes(status), key=lambda note: note.weight)


def _notes(status: dict[str, Any]) -> Iterator[Note]:
    site = status.get("site", {})
    if said := unlogged(status):
        yield Note(Weight.WRONG, "log", said)
    for row in status["robots"]:
        # Where no control process is, the actor's own line says why.
        if row["state"] != "DOWN" or "has not reported" in row["reason"]:
            yield from _note(row, row["name"])
        yield from _about_commands(row, row["name"])
    for row in status["actors"]:
        yield from _note(row, row["name"])
    for row in (*site.get("robots", ()), *site.get("replicas", ())):
        name = f"{row['name']} ({row['where']})"
        yield from _note(row, name)
        yield from _about_commands(row, name)


def _note(row: dict[str, Any], name: str) -> Iterator[Note]:
    state = row["state"]
    if state in _WELL:
        return
    why = cause(row) or row.get("last_exit") or ""
    error = row.get("last_error")
    if error and state in ("BACKOFF", "FAILED") and error not in why:
        why += f" - {error}"
    if state == "STOPPED":
        why += f"; `actorctl start {row['name']}` starts it"
    weight = Weight.WRONG
    if state in _COMING:
        weight = Weight.WAITS
    elif state in ("STOPPED", "PAUSED"):
        weight = Weight.INTENDED
    yield Note(weight, name, f"{state}: {why}" if why else state)


def _about_commands(row: dict[str, Any], name: str) -> Iterator[Note]:
    if refused := refusal(row):
        yield Note(Weight.WRONG, name, refused)
    for warning in row.get("warnings", ()):
        yield Note(Weight.WARNS, name, f"warning: {warning}")

"""The status of a fleet as one plain object: the report's body, `actorctl status --json`, the live
view. Names in it are an interface: they are added to, never changed.

`healthy` means that nothing needs a person: every actor is READY (or was stopped by a person) and
every robot is driven: its plan is supplied, or rides its buffer, or it is paused.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec

from .supervised import Actor, State

DRIVEN = ("STREAMING", "DEGRADED", "PAUSED")
"""Fail-safe states in which a robot needs nobody."""

DOWN = "DOWN"
"""The state of a robot without a control actor."""

_EMPTY_LATENCY = {"p50": None, "p99": None}
_ROBOT: dict[str, Any] = {
    "ticks": 0,
    "missed_ticks": 0,
    "missed_ticks_machine": 0,
    "tick_lateness_us": {"p50": None, "p99": None, "p999": None, "max": None},
    "plan_s": 0.0,
    "requests": 0,
    "merged": 0,
    "dropped": {},
    "request_latency_ms": _EMPTY_LATENCY,
    "stalled_ticks": 0,
    "stale_dropped": 0,
}
"""What a robot that has not reported yet is said to be."""


class ActorFacts(msgspec.Struct, kw_only=True):
    """What the shell knows of one actor, beside the core's record of it."""

    name: str
    kind: str
    robot: str | None
    pid: int | None
    uptime_s: float | None
    progress_age_s: float | None
    memory_mb: float | None
    last_exit: str | None
    last_error: str | None
    report: dict[str, Any] | None


def status(
    fleet: str,
    uptime_s: float,
    facts: Iterable[ActorFacts],
    actors: dict[str, Actor],
    robots: Iterable[str],
) -> dict[str, Any]:
    """The status object. `actors` are the core's records by name."""
    by_name = {fact.name: fact for fact in facts}
    rows = [_actor(fact, actors[name]) for name, fact in by_name.items()]
    robot_rows = [_robot(name, by_name, actors) for name in robots]
    witness = by_name.get("witness")
    return {
        "fleet": fleet,
        "healthy": _healthy(rows, robot_rows),
        "uptime_s": round(uptime_s, 3),
        "time": time.time(),
        "actors": rows,
        "robots": robot_rows,
        "witness": None if witness is None else witness.report,
    }


def unhealthy(body: dict[str, Any]) -> list[str]:
    """Why a status is not healthy, a sentence each."""
    why = [
        f"{row['name']} is {row['state']}" + (f": {row['reason']}" if row["reason"] else "")
        for row in body["actors"]
        if row["state"] not in (State.READY, State.STOPPED)
    ]
    why += [
        f"robot {row['name']} is {row['state']}" + (f": {row['reason']}" if row["reason"] else "")
        for row in body["robots"]
        if row["state"] not in DRIVEN and not row["stopped"]
    ]
    return why


def _healthy(actors: list[dict[str, Any]], robots: list[dict[str, Any]]) -> bool:
    ready = [row for row in actors if row["state"] == State.READY]
    return bool(ready) and not unhealthy({"actors": actors, "robots": robots})


def _actor(fact: ActorFacts, actor: Actor) -> dict[str, Any]:
    return {
        "name": fact.name,
        "kind": fact.kind,
        "state": actor.state.value,
        "pid": fact.pid,
        "incarnation": actor.incarnation,
        "restarts": actor.restarts,
        "uptime_s": _rounded(fact.uptime_s),
        "progress_age_s": _rounded(fact.progress_age_s),
        "memory_mb": _rounded(fact.memory_mb),
        "last_exit": fact.last_exit,
        "last_error": fact.last_error,
        "reason": "" if actor.state is State.READY else actor.reason,
        "report": fact.report,
    }


def _robot(name: str, facts: dict[str, ActorFacts], actors: dict[str, Actor]) -> dict[str, Any]:
    control, world = facts[f"{name}/control"], facts.get(f"{name}/world")
    record = actors[control.name]
    said = control.report or {}
    cell = (world.report if world else None) or {}
    row = {"name": name} | _ROBOT | said | {"name": name}
    # A dead control's last words are about the past: its counters stand, its state does not.
    if (record.state is not State.READY and said.get("state") != "DEAD") or "state" not in said:
        row["state"] = DOWN
    row["stopped"] = record.state is State.STOPPED
    row["reason"] = said.get("reason") or ("" if record.state is State.READY else record.reason)
    row["episodes"] = cell.get("tried", said.get("episodes", 0))
    row["successes"] = cell.get("successes", said.get("successes"))
    row["task"] = cell.get("task", said.get("task"))
    return row


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

"""The status of a fleet as one plain object: the report's body, `actorctl status --json`, the live
view. Names in it are an interface: they are added to, never changed.

`healthy` means that nothing needs a person: every actor is READY (or was stopped by a person) and
every robot is driven: its plan is supplied and its limits accept it, or it rides its buffer, or it
is paused. `health.py` says the same in sentences.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..runtime.spec import Member, Rules
from . import health
from .site import site
from .state_machine import hang_timeout_s
from .supervised import ActorRecord, ActorState
from .waits import waits_for

DOWN = "DOWN"
"""The state of a robot without a control actor."""

_EMPTY_LATENCY = {"p50": None, "p99": None}
_ROBOT: dict[str, Any] = {
    "ticks": 0,
    "missed_ticks": 0,
    "missed_ticks_machine": 0,
    "tick_lateness_us": {"p50": None, "p99": None, "p999": None, "max": None},
    "tick_lateness_recent_us": {"p50": None, "p99": None, "p999": None, "max": None},
    "plan_s": 0.0,
    "requests": 0,
    "merged": 0,
    "dropped": {},
    "request_latency_ms": _EMPTY_LATENCY,
    "stalled_ticks": 0,
    "stale_dropped": 0,
    "refused_commands": {},
    "refusing_s": 0.0,
    "refusing": "",
    "warnings": [],
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


class LogFacts(msgspec.Struct, frozen=True):
    """The fleet's log on disk: lines that it did not take, and why it takes none now (or "")."""

    path: str = ""
    lost: int = 0
    error: str = ""


def status(
    fleet: str,
    uptime_s: float,
    facts: Iterable[ActorFacts],
    actors: Mapping[str, ActorRecord],
    robots: Iterable[str],
    members: Mapping[str, Member] | None = None,
    now: float | None = None,
    log: LogFacts | None = None,
) -> dict[str, Any]:
    """The status object. `actors` and `members` are the core's by name, `now` is its clock."""
    by_name = {fact.name: fact for fact in facts}
    now = time.monotonic() if now is None else now
    rows = [
        _actor(fact, actors, (members or {}).get(name, Member(name)).rules, now)
        for name, fact in by_name.items()
    ]
    by_row = {row["name"]: row for row in rows}
    robot_rows = [_robot(name, by_name, by_row) for name in robots]
    witness = by_name.get("witness")
    body = {
        "fleet": fleet,
        "healthy": False,
        "uptime_s": round(uptime_s, 3),
        "time": time.time(),
        "actors": rows,
        "robots": robot_rows,
        "site": site(rows, robot_rows),
        "witness": None if witness is None else witness.report,
        "log": msgspec.to_builtins(log or LogFacts()),
    }
    at_work = any(row["state"] == ActorState.READY for row in rows)
    body["healthy"] = at_work and not health.unhealthy(body)
    return body


def _actor(
    fact: ActorFacts, actors: Mapping[str, ActorRecord], rules: Rules, now: float
) -> dict[str, Any]:
    actor = actors[fact.name]
    return {
        "name": fact.name,
        "kind": fact.kind,
        "state": actor.state.value,
        "pid": fact.pid,
        "incarnation": actor.incarnation,
        "restarts": actor.restarts,
        "uptime_s": _rounded(fact.uptime_s),
        # The actor may have turned since `now` was read.
        "progress_age_s": _rounded(fact.progress_age_s and max(0.0, fact.progress_age_s)),
        "hang_timeout_s": hang_timeout_s(actor, rules),
        "memory_mb": _rounded(fact.memory_mb),
        "last_exit": fact.last_exit,
        "last_error": fact.last_error,
        "reason": "" if actor.state is ActorState.READY else actor.reason,
        "waits_for": waits_for(actor, rules, actors, fact.report, now),
        "report": fact.report,
    }


def _robot(
    name: str, facts: Mapping[str, ActorFacts], rows: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    control, world = facts[f"{name}/control"], facts.get(f"{name}/world")
    record = rows[control.name]
    said = control.report or {}
    cell = (world.report if world else None) or {}
    row = {"name": name} | _ROBOT | said | {"name": name}
    # A dead control's last words are about the past: its counters stand, its state does not.
    if (record["state"] != ActorState.READY and said.get("state") != "DEAD") or "state" not in said:
        row["state"] = DOWN
        row["reason"] = _why_down(record)
        row["refusing_s"], row["refusing"], row["warnings"] = 0.0, "", []
    else:
        row["reason"] = said.get("reason") or (
            f"`actorctl resume {name}` goes on" if row["state"] == "PAUSED" else ""
        )
    row["stopped"] = record["state"] == ActorState.STOPPED
    row["episodes"] = cell.get("tried", said.get("episodes", 0))
    row["successes"] = cell.get("successes", said.get("successes"))
    row["task"] = cell.get("task", said.get("task"))
    return row


def _why_down(control: dict[str, Any]) -> str:
    if control["state"] == ActorState.READY:
        return f"{control['name']} has not reported yet"
    return health.sentence(control)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

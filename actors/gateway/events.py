"""What happened between two status reports, in sentences. Pure.

Derived from the reports alone, so that it needs no cooperation and survives a restart of the
supervisor. What begins and ends between two reports is seen only by its traces: an actor that died
and is READY again has a new incarnation, and the event has the reason why the old one ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from ..supervision.health import DRIVEN, refusal

Level = Literal["info", "warning", "error"]
Report = Mapping[str, Any]

_FIGURES = re.compile(r"[0-9][0-9.]*")
"""A warning whose figures changed is no new one."""
_ACTOR_LEVELS: dict[str, Level] = {"FAILED": "error", "BACKOFF": "warning"}
_ROBOT_LEVELS: dict[str, Level] = {
    "DOWN": "warning",
    "DEAD": "error",
    "STALLED": "warning",
    "RECONNECTING": "warning",
    "DEGRADED": "warning",
}


class FleetEvent(msgspec.Struct, frozen=True):
    """One thing that happened to `who`, an actor, a robot or the fleet; `t` as in the report's
    samples; `number` counts all events of one gateway."""

    number: int
    t: float
    who: str
    level: Level
    text: str


Happening = tuple[str, Level, str]


def between(before: Report | None, after: Report) -> Iterator[Happening]:
    """(who, level, text) of everything that is different in `after`."""
    if before is None:
        return
    yield from _actors(_by_name(before, "actors"), _by_name(after, "actors"))
    yield from _robots(_by_name(before, "robots"), _by_name(after, "robots"))
    yield from _guests(_guests_of(before), _guests_of(after))
    if before["healthy"] != after["healthy"]:
        if after["healthy"]:
            yield "fleet", "info", "healthy"
        else:
            yield "fleet", "warning", "not healthy"


def _actors(before: Mapping[str, Report], after: Mapping[str, Report]) -> Iterator[Happening]:
    for name, new in after.items():
        old = before.get(name)
        if old is None:
            yield name, "info", "added"
        elif new["incarnation"] != old["incarnation"]:
            yield name, *_restart(old, new)
        elif new["state"] != old["state"]:
            level = _ACTOR_LEVELS.get(new["state"], "info")
            yield name, level, _because(f"{old['state']} → {new['state']}", new, level)
    for name in before.keys() - after.keys():
        yield name, "info", "removed"


def _restart(old: Report, new: Report) -> tuple[Level, str]:
    if not old["incarnation"]:
        return "info", f"started, {new['state']}"
    why = f" ({new['last_exit']})" if new.get("last_exit") else ""
    ended = f"incarnation {old['incarnation']} ended{why}"
    return "warning", f"{ended}; {new['incarnation']} is {new['state']}"


def _because(text: str, actor: Report, level: Level) -> str:
    reason = actor.get("reason") or actor.get("last_exit")
    return f"{text}: {reason}" if reason and level != "info" else text


def _robots(before: Mapping[str, Report], after: Mapping[str, Report]) -> Iterator[Happening]:
    for name, new in after.items():
        old = before.get(name)
        if old is None:
            continue
        if new["state"] != old["state"]:
            reason = new.get("reason")
            text = f"{old['state']} → {new['state']}"
            level = _ROBOT_LEVELS.get(new["state"], "info")
            yield name, level, f"{text}: {reason}" if reason and level != "info" else text
        yield from _commands(name, old, new)
        missed = new["missed_ticks"] - old["missed_ticks"]
        if missed > 0:
            yield name, "warning", f"missed {missed} tick{'s' * (missed > 1)}"
        stale = new["stale_dropped"] - old["stale_dropped"]
        if stale > 0:
            yield name, "warning", f"dropped {stale} action{'s' * (stale > 1)} as too old"


def _commands(name: str, old: Report, new: Report) -> Iterator[Happening]:
    """Events of a robot beside its state: warnings, and that its limits accept nothing."""
    known = {_FIGURES.sub("", warning) for warning in old.get("warnings", ())}
    for warning in new.get("warnings", ()):
        if _FIGURES.sub("", warning) not in known:
            yield name, "warning", f"warning: {warning}"
    old_refusal, new_refusal = refusal(old), refusal(new)
    if new_refusal and not old_refusal:
        yield name, "error", new_refusal
    elif old_refusal and not new_refusal and new["state"] in DRIVEN:
        yield name, "info", "no longer refuses every command"


def _guests(before: Mapping[str, Report], after: Mapping[str, Report]) -> Iterator[Happening]:
    """Robots and replicas of scripts and other hosts."""
    for name, new in after.items():
        old = before.get(name)
        if old is None:
            yield name, "info", f"joined from {new['where']}, {new['state']}"
        elif new["state"] != old["state"]:
            level = _ROBOT_LEVELS.get(new["state"], "info")
            yield name, level, _because(f"{old['state']} → {new['state']}", new, level)
        yield from _commands(name, old or {"state": "", "warnings": ()}, new)
    for name in before.keys() - after.keys():
        yield name, "info", f"left ({before[name]['where']})"


def _guests_of(report: Report) -> dict[str, Report]:
    site = report.get("site", {})
    return {one["name"]: one for one in (*site.get("robots", ()), *site.get("replicas", ()))}


def _by_name(report: Report, what: str) -> dict[str, Report]:
    return {one["name"]: one for one in report[what]}

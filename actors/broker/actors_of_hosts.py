"""The actors of other hosts, as robots and replicas report them with their heartbeats.

Shown in the status; nothing is decided by it. A reporter is believed about its own host only, whose
name it gave in its OPEN or REGISTER.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...transport.bodies import ActorVitals, Open
from .router_state import RouterState

_CHARS = 160
_ROWS_EACH = 4
"""Rows of actors for each row of the status's other tables."""


def actors_of_hosts(state: RouterState, now_ns: int, rows: int) -> list[dict[str, Any]]:
    """One row for each actor of each host, at most `4 * rows`; those that are not READY first.

    `reporter` is the robot or replica that said it, `heard_s` how long ago.
    """
    found: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
    for reporter, host, actors, heard_ns in _reports(state):
        for actor in actors:
            key = host, actor.name
            if key not in found or found[key][0] < heard_ns:
                found[key] = heard_ns, _row(actor, reporter, host, now_ns - heard_ns)
    listed = [row for _, row in found.values()]
    listed.sort(key=lambda row: (row["state"] == "READY", row["host"], row["name"]))
    return listed[: _ROWS_EACH * rows]


def _reports(state: RouterState) -> list[tuple[str, str, tuple[ActorVitals, ...], int]]:
    """(reporter, its host, what it said, when) of all that said anything."""
    callers = [
        (caller.name, caller.asked.host, caller.actors, caller.heard_ns)
        for caller in state.callers
        if caller.actors and isinstance(caller.asked, Open)
    ]
    replicas = [
        (replica.name, replica.offer.host, replica.actors, replica.heard_ns)
        for replica in state.registry
        if replica.actors
    ]
    return [*callers, *replicas]


def _row(actor: ActorVitals, reporter: str, host: str, age_ns: int) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(actor),
        "last_exit": actor.last_exit[:_CHARS],
        "reason": actor.reason[:_CHARS],
        "host": host,
        "reporter": reporter,
        "heard_s": round(age_ns / 1e9, 3),
    }

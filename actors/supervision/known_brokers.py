"""The brokers that the actors of this host know: where each is, since when it is reachable, and who
uses it. Pure.

A robot uses one broker at a time, a replica all that it is registered with. The broker of this host
knows all its users itself, and in a fleet with keys the other brokers of the site.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
MAX_USERS = 64


def known_brokers(actors: Sequence[Row]) -> list[dict[str, Any]]:
    """A row for each broker, that of this host first; `actors` are the rows of the status.

    `address` is empty for that of this host. `state` is READY or UNREACHABLE; `reason` says which
    actor does not reach it, and why; `reachable_s`: for how long an actor has reached it.
    """
    found: dict[str, dict[str, Any]] = {}
    for actor in actors:
        for endpoint, open_s, reason, users in _views(actor):
            address = _address(endpoint)
            row = found.setdefault(
                address,
                {
                    "name": f"broker at {address}" if address else "broker of this host",
                    "kind": "broker",
                    "address": address,
                    "where": address or "here",
                    "state": "UNREACHABLE",
                    "reason": "",
                    "reachable_s": None,
                    "users": [],
                },
            )
            if open_s is not None:
                row["state"] = "READY"
                row["reachable_s"] = max(open_s, row["reachable_s"] or 0.0)
            elif not row["reason"]:
                row["reason"] = f"{actor['name']}: {reason}"
            row["users"] = sorted({*row["users"], *users})[:MAX_USERS]
    return [row for _, row in sorted(found.items())]


def _views(actor: Row) -> Iterator[tuple[str, float | None, str, list[str]]]:
    """What one actor says: endpoint, for how long it is open, why it is not, users."""
    if actor["kind"] == "broker":
        ready = actor["state"] == "READY"
        report = (actor["report"] or {}) if ready else {}
        users = [row["robot"] for row in report.get("sessions", ()) if row["state"] == "open"]
        users += [row["name"] for row in report.get("replicas", ())]
        up_s = actor["uptime_s"] if ready else None
        yield "", up_s, actor["reason"] or f"it is {actor['state']}", users
        rows = report.get("other_brokers", ())
    elif actor["kind"] in ("network", "inference") and actor["state"] == "READY":
        rows = (actor["report"] or {}).get("brokers", ())
    else:
        return
    user = actor["robot"] if actor["kind"] == "network" else actor["name"]
    for row in rows if isinstance(rows, list) else ():  # a board may hold anything
        if isinstance(row, Mapping) and isinstance(row.get("endpoint"), str):
            open_s = row.get("open_s")
            users = [user] if row.get("used") else []
            known_s = open_s if isinstance(open_s, int | float) else None
            yield row["endpoint"], known_s, str(row.get("reason", "")), users


def _address(endpoint: str) -> str:
    """The host of a TCP endpoint; empty for a socket file."""
    if not endpoint.startswith("tcp://"):
        return ""
    return endpoint.removeprefix("tcp://").rpartition(":")[0]

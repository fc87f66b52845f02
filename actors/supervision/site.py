"""Who else is at the site: robots and replicas of scripts and of other hosts, as the broker of this
host knows them. Pure.

`where` tells whose they are: `script` for a program on this machine that calls `RemotePolicy` or
`serve`, `script on HOST` for one elsewhere, `HOST` for an actor of another host's supervisor. A
host without the broker sees its own actors and robots only: `site` is empty there.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any

SILENT_S = 1.0
"""A robot that the broker has not heard of for this long is said to be silent."""

Row = Mapping[str, Any]


def site(actors: Sequence[Row], robots: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """`robots` and `replicas` that are at the broker and not of this host's fleet."""
    said: Row = next(
        (row["report"] for row in actors if row["kind"] == "broker" and row["report"]), {}
    )
    own = {row["name"] for row in (*actors, *robots)}
    here = socket.gethostname()
    sessions = (row for row in said.get("sessions", ()) if row["robot"] not in own)
    replicas = (row for row in said.get("replicas", ()) if row["name"] not in own)
    # By name: the broker's order is that of the last handshakes.
    return {
        "robots": sorted((_robot(row, here) for row in sessions), key=lambda row: row["name"]),
        "replicas": sorted((_replica(row, here) for row in replicas), key=lambda row: row["name"]),
    }


def _robot(session: Row, here: str) -> dict[str, Any]:
    vitals = session["vitals"]
    silent_s = session["silent_s"]
    reason = vitals["reason"]
    if silent_s > SILENT_S:
        reason = f"silent for {silent_s:.1f} s" + (f"; its last word: {reason}" if reason else "")
    return {
        "name": session["robot"],
        "where": _where(session, here),
        "service": session["service"],
        "replica": session["replica"],
        **vitals,
        "state": vitals["state"] or _WITHOUT_VITALS.get(session["state"], "CONNECTING"),
        "reason": reason or _SESSION_REASONS.get(session["state"], "").format_map(session),
        "silent_s": silent_s,
    }


_WITHOUT_VITALS = {"open": "OPEN", "moving": "MOVING"}
"""Everything else is CONNECTING."""
_SESSION_REASONS = {
    "none": "no replica of '{service}' has accepted it",
    "opening": "{replica} has its handshake and has not answered yet",
    "moving": "its session moves to {replica}",
}


def _replica(replica: Row, here: str) -> dict[str, Any]:
    draining = replica["draining"]
    return {
        **replica,
        "where": _where(replica, here),
        "state": "DRAINING" if draining else "READY",
        "reason": "it takes no new robots and hands over those it has" if draining else "",
    }


def _where(row: Row, here: str) -> str:
    host = row["host"] or "unknown"
    if row["kind"] != "script":
        return str(host)
    return "script" if host == here else f"script on {host}"

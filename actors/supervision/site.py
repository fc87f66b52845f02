"""The robots, replicas and actors of scripts and of other hosts, as the broker of this host reports
them. Pure.

One that a stop of the site holds is STOPPED, as those of this host are; `estop` says by whom.

`where` says what runs them: `script` for a program on this machine that calls `RemotePolicy` or
`serve`, `script on HOST` for one elsewhere, `HOST` for an actor of another host's supervisor,
`client` and `client at HOST` for a program of another project that asks a port there. No stop
reaches the robot of such a client, so that it is never STOPPED: `stoppable` is false. On a host
without the broker, `robots`, `replicas` and `actors` are empty.

`away` are robots that a stop names and of which no row tells: their program has ended, or is not
reachable. `whole` has a row while a stop of the whole site is in force, also where no robot is
known.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...transport.stop_bodies import STOPPED
from . import health

SILENT_S = 2.0
"""A robot from which the broker has received nothing for longer than this is shown as silent, and
so are the actors of a host whose robots and replicas are. A robot whose requests are answered
reports them every 1.5 s (`BeatSchedule`)."""

Row = Mapping[str, Any]


class HeldBySite(NamedTuple):
    """The stops of the site that are in force, as rows of the status have them: by robot, and the
    first of those that hold every robot."""

    robots: Mapping[str, dict[str, Any]]
    whole: dict[str, Any] | None = None


Stops = Callable[[Iterable[str]], HeldBySite]
"""Those that hold some robots, or robots that a stop names."""


def site(
    actors: Sequence[Row], robots: Sequence[Row], stops: Stops | None = None
) -> dict[str, list[dict[str, Any]]]:
    """`robots` and `replicas` that use the broker and are not of this host's fleet, `actors`, the
    processes of other hosts that run them, the robots that are `away`, and the `whole` site.

    `actors` and `robots` are the rows of the status; all results are sorted by name.
    """
    report: Row = next(
        (row["report"] for row in actors if row["kind"] == "broker" and row["report"]), {}
    )
    own = {row["name"] for row in (*actors, *robots)}
    here = socket.gethostname()
    sessions = [row for row in report.get("sessions", ()) if row["robot"] not in own]
    heeding = {row["robot"] for row in sessions if row["kind"] in _HEEDING}
    stopped, whole = HeldBySite({}) if stops is None else stops(heeding)
    guests = [
        _robot(row, here, stopped.get(row["robot"]) if row["robot"] in heeding else None)
        for row in sessions
    ]
    shown = heeding | {row["name"] for row in robots}
    replicas = (row for row in report.get("replicas", ()) if row["name"] not in own)
    # The broker's own order changes with each handshake.
    refused = (row for row in report.get("refused", ()) if row["name"] not in own)
    elsewhere = [
        *(_replica(row, here) for row in replicas),
        *(_refused(row, here) for row in refused),
    ]
    return {
        "robots": sorted(guests, key=lambda row: row["name"]),
        "replicas": sorted(elsewhere, key=lambda row: row["name"]),
        "actors": sorted(
            (_actor(row) for row in report.get("actors", ()) if row["reporter"] not in own),
            key=lambda row: (row["where"], row["name"]),
        ),
        "away": [_away(name, stopped[name]) for name in sorted(stopped.keys() - shown)],
        "whole": [] if whole is None else [_whole(whole)],
    }


def _away(name: str, stop: dict[str, Any]) -> dict[str, Any]:
    row = {"name": name, "where": "", "state": STOPPED, "stoppable": True, "estop": stop}
    return {**row, "reason": health.emergency_stop(row)}


def _whole(stop: dict[str, Any]) -> dict[str, Any]:
    reason = health.site_stop(stop)
    return {"name": "the whole site", "state": STOPPED, "estop": stop, "reason": reason}


def _actor(row: Row) -> dict[str, Any]:
    """Its `name` has its host before it: on each there is a gateway."""
    silent_s = row["heard_s"]
    reason = row["reason"]
    if silent_s > SILENT_S:
        reason = f"nothing heard of its host for {silent_s:.1f} s"
    shown = {key: row[key] for key in _OF_ACTOR}
    return {
        "name": f"{row['host']}:{row['name']}",
        "actor": row["name"],
        "where": row["host"],
        **shown,
        "state": row["state"] if silent_s <= SILENT_S else "SILENT",
        "reason": reason,
        "uptime_s": row["up_s"],
        "last_exit": row["last_exit"] or None,
        "silent_s": silent_s,
    }


_OF_ACTOR = ("kind", "pid", "restarts", "progress_age_s", "memory_mb")


def _robot(session: Row, here: str, stop: dict[str, Any] | None) -> dict[str, Any]:
    vitals = session["vitals"]
    silent_s = session["silent_s"]
    reason = vitals["reason"]
    if silent_s > SILENT_S:
        last = f"; its last report: {reason}" if reason else ""
        reason = f"silent for {silent_s:.1f} s{last}"
    row = {
        "name": session["robot"],
        "where": _where(session, here),
        "service": session["service"],
        "replica": session["replica"],
        **vitals,
        "state": vitals["state"] or _WITHOUT_VITALS.get(session["state"], "CONNECTING"),
        "reason": reason or _SESSION_REASONS.get(session["state"], "").format_map(session),
        "silent_s": silent_s,
        "stoppable": session["kind"] in _HEEDING,
        "estop": stop,
    }
    if stop is not None:
        row |= {"state": STOPPED, "reason": health.emergency_stop(row)}
        row |= {"refusing_s": 0.0, "refusing": ""}
    return row


_HEEDING = ("fleet", "script")
"""The kinds of robots whose loop heeds the stops of the site."""
_WITHOUT_VITALS = {"open": "OPEN", "moving": "MOVING"}
"""The state of a robot that sends no vitals, by that of its session; any other is CONNECTING."""
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


def _refused(replica: Row, here: str) -> dict[str, Any]:
    """A replica that may not serve: it has no robots."""
    return {
        **replica,
        "where": _where(replica, here),
        "state": "REFUSED",
        "sessions": 0,
        "capacity": 0,
        "load": 0.0,
        "progress_age_s": 0.0,
        "batch_ms": {},
        "chunk_s": 0.0,
        "stateful": False,
    }


def _where(row: Row, here: str) -> str:
    host = row["host"] or "unknown"
    if row["kind"] == "client":
        return "client" if host == here else f"client at {host}"
    if row["kind"] != "script":
        return str(host)
    return "script" if host == here else f"script on {host}"

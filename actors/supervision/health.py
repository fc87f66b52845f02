"""The faults in a status, as sentences. Pure.

Three questions, from the strictest to the mildest:

- `unready`: what does not run? `actorctl status` exits with 0 if the list is empty. An actor that a
  person stopped is not ready, but healthy.
- `unhealthy`: what needs a person? `healthy` in the status and /readyz are true if the list is
  empty. Warnings do not count, nor do robots and replicas of scripts and of other hosts, which this
  fleet cannot repair.
- `failing`: which process of this host does not do its work? That is /healthz.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .supervised import ActorState

DRIVEN = ("STREAMING", "DEGRADED", "PAUSED", "MANUAL")
"""Fail-safe states in which a robot needs no person."""

PLAYED = ("STREAMING", "DEGRADED")
"""Those of them in which its plan is executed."""

REFUSING_S = 1.0
"""A robot that refused every command of its plan for longer than this is not driven."""

LATE = 0.5
"""The share of the hang timeout after which an actor without progress counts as failing: at the
whole of it the supervisor kills the actor."""

Row = Mapping[str, Any]


def unready(body: Row) -> list[str]:
    """Why not all of a status is ready, a sentence each."""
    stopped = [sentence(row) for row in body["actors"] if row["state"] == ActorState.STOPPED]
    return unhealthy(body) + stopped


def unhealthy(body: Row) -> list[str]:
    """Why a status is not healthy, a sentence each."""
    actors = [
        sentence(row)
        for row in body["actors"]
        if row["state"] not in (ActorState.READY, ActorState.STOPPED)
    ]
    sensors = [f"{row['name']} {blind(row)}" for row in body["actors"] if blind(row)]
    robots = [
        f"robot {sentence(row)}"
        for row in body["robots"]
        if row.get("estop") or (row["state"] not in DRIVEN and not row["stopped"])
    ]
    refusing = [f"robot {row['name']} {refusal(row)}" for row in body["robots"] if refusal(row)]
    sensors += [f"{row['name']} {unrecorded(row)}" for row in body["actors"] if unrecorded(row)]
    return actors + sensors + robots + refusing + list(filter(None, [unlogged(body)]))


def unlogged(body: Row) -> str:
    """Why the fleet's log is not kept; empty if it is."""
    log = body.get("log") or {}
    if not log.get("error"):
        return ""
    return (
        f"the log {log['path']} cannot be written ({log['error']}), {log['lost']} lines are lost: "
        "make room for it"
    )


def failing(body: Row) -> list[str]:
    """Which actors of this host hang, or do not run although they did and should, a sentence each.

    A first start, an actor that a person stopped, and the control actor of a DEAD robot do not
    count: a watchdog that restarts the fleet must not move a robot that waits for a person.
    """
    why = []
    dead = {f"{row['name']}/control" for row in body["robots"] if row["state"] == "DEAD"}
    for row in body["actors"]:
        if row["name"] in dead:
            continue
        age, bound = row["progress_age_s"], row.get("hang_timeout_s")
        if row["state"] == ActorState.READY:
            if age is not None and bound is not None and age > bound * LATE:
                where = f": {row['call']} has not returned" if row.get("call") else ""
                why.append(f"{row['name']} has made no progress for {age:.1f} s{where}")
        elif row["state"] in (ActorState.BACKOFF, ActorState.FAILED) or (
            row["state"] != ActorState.STOPPED and row["last_exit"]
        ):
            why.append(sentence(row))
    return why


def warnings(body: Row) -> list[tuple[str, str]]:
    """(robot, warning) for the warnings of every handshake, also of scripts and other hosts."""
    rows = [*body["robots"], *body.get("site", {}).get("robots", [])]
    return [(row["name"], text) for row in rows for text in row.get("warnings", ())]


def sentence(row: Row) -> str:
    """`pick/0 is BACKOFF: killed by SIGKILL; waits for its next start in 0.4 s`."""
    return f"{row['name']} is {row['state']}" + (f": {cause(row)}" if cause(row) else "")


def cause(row: Row) -> str:
    """Why an actor or a robot is in its state, and what it waits for; may be empty."""
    waits = row.get("waits_for")
    return "; ".join(filter(None, (row.get("reason"), waits and f"waits for {waits}")))


def emergency_stop(row: Row) -> str:
    """Who stopped a robot, when, why, whether its device has confirmed it, and what to do; empty
    for a robot that is not stopped."""
    stop = row.get("estop")
    if not stop:
        return ""
    held = (
        "the device holds" + (f", but {stop['error']}" if stop["error"] else "")
        if stop["confirmed"]
        else f"THE DEVICE HAS NOT CONFIRMED IT ({stop['error']})"
    )
    return f"{_who(stop)}; {held}; `actorctl estop --release {row['name']}` lifts it"


def site_stop(stop: Row) -> str:
    """Who stopped the whole site, when, why, what that means, and what to do."""
    return (
        f"{_who(stop)}; it also holds each robot that comes now; `actorctl estop --release --all` "
        "lifts it"
    )


def _who(stop: Row) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stop["at_s"]))
    return f"stopped by {stop['by']} at {when}" + (f": {stop['why']}" if stop["why"] else "")


def blind(row: Row) -> str:
    """Why a running sensor, or a camera of a robot's driver, has no frames; empty if it has some,
    and for every other actor."""
    report = row.get("report") or {}
    if row["state"] != ActorState.READY:
        return ""
    if row["kind"] == "driver":
        cameras = [camera for camera in report.get("cameras", ()) if camera["reason"]]
        return "; ".join(f"has no frames of {each['name']}: {each['reason']}" for each in cameras)
    reason = report.get("reason") if row["kind"] == "sensor" else ""
    return f"has no frames: {reason}" if reason else ""


def unrecorded(row: Row) -> str:
    """Why a running recorder cannot record, or what it has lost since it saved an episode; empty
    for every other actor."""
    if row["kind"] != "recorder" or row["state"] != ActorState.READY:
        return ""
    report = row.get("report") or {}
    reason = report.get("reason")
    if report.get("state") == "recording":
        return f"is recording, but {reason}" if reason else ""
    return f"does not record: {reason}" if reason else ""


def refusal(row: Row) -> str:
    """Why a robot with a plan executes no commands; empty if it executes them."""
    if row["state"] not in PLAYED or row.get("refusing_s", 0.0) <= REFUSING_S:
        return ""
    why = row.get("refusing") or "its limits say so"
    return f"has refused every command for {row['refusing_s']:.0f} s: {why}"

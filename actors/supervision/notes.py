"""The sentences of a status, for terminals and the dashboard: faults first, then waits, warnings,
losses, and what a person asked for. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from .health import blind, cause, refusal, unlogged, unrecorded

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
    LOST = 3
    """Chunks and commands that did not reach the robot, by reason: some are usual."""
    INTENDED = 4
    """As a person asked: stopped, paused, recording."""


class Note(NamedTuple):
    """A sentence about one actor, robot or replica."""

    weight: Weight
    name: str
    text: str


def notes(status: dict[str, Any]) -> list[Note]:
    """All notes on a status, by weight; within one weight in the order of the tables."""
    return sorted(_notes(status), key=lambda note: note.weight)


def _notes(status: dict[str, Any]) -> Iterator[Note]:
    site = status.get("site", {})
    states = {row["name"]: row["state"] for row in status["actors"]}
    # A fleet that ends stops them all, and nothing is left that could start one.
    ending = not {row["state"] for row in status["actors"]} - {"STOPPED", "STOPPING"}
    if fault := unlogged(status):
        yield Note(Weight.WRONG, "log", fault)
    for row in status["robots"]:
        # If the control actor does not run, the note on that actor says why.
        if row["state"] != "DOWN" or states.get(f"{row['name']}/control", "READY") == "READY":
            yield from _note(row, row["name"], ending)
        yield from _about_commands(row, row["name"])
    dead = {f"{row['name']}/control" for row in status["robots"] if row["state"] == "DEAD"}
    for row in status["actors"]:
        if row["name"] not in dead:  # the note on the robot says it
            yield from _note(row, row["name"], ending)
        if fault := blind(row) or unrecorded(row):
            yield Note(Weight.WRONG, row["name"], fault)
        if lost := (row.get("report") or {}).get("evidence_lost"):
            text = f"{lost} records of its audit or capture are lost: its log says why"
            yield Note(Weight.WARNS, row["name"], text)
        if pooled := _pooled(row):
            yield Note(Weight.WAITS, row["name"], pooled)
        if recorded := _recording(row):
            yield Note(Weight.INTENDED, row["name"], recorded)
        if wrong := row.get("misreported"):
            text = f"its status report has wrong values, left out here: {', '.join(wrong)}"
            yield Note(Weight.WARNS, row["name"], text)
    for row in (*site.get("robots", ()), *site.get("replicas", ())):
        name = f"{row['name']} ({row['where']})"
        yield from _note(row, name)
        yield from _about_commands(row, name)
    for row in (*site.get("whole", ()), *site.get("away", ())):
        yield from _note(row, row["name"])
    for row in site.get("actors", ()):
        yield from _note(row, f"{row['actor']} ({row['where']})")


def _note(row: dict[str, Any], name: str, ending: bool = False) -> Iterator[Note]:
    state = row["state"]
    if state in _WELL:
        return
    why = cause(row) or row.get("last_exit") or ""
    error = row.get("last_error")
    if error and state in ("BACKOFF", "FAILED") and error.partition(": ")[2] not in why:
        why += f" - {error}"
    remedy = ""
    if state == "DEAD":
        remedy = f"`actorctl start {row['name']}/control` once that is mended"
    if state == "STOPPED" and not row.get("estop") and not ending:
        remedy = f"`actorctl start {row['name']}` starts it"
    why = "; ".join(filter(None, (why, remedy)))
    weight = Weight.WRONG
    if state in _COMING:
        weight = Weight.WAITS
    elif state in ("STOPPED", "PAUSED", "MANUAL") and not row.get("estop"):
        weight = Weight.INTENDED
    yield Note(weight, name, f"{state}: {why}" if why else state)


def _pooled(row: dict[str, Any]) -> str:
    """How many of the wanted replicas of a pool serve, and what the others wait for; empty while
    all do, and for every other actor."""
    report = row.get("report") or {}
    if row["kind"] != "pool" or row["state"] != "READY" or not report.get("service"):
        return ""
    if report["ready"] >= report["wanted"] and not report["reason"]:
        return ""
    said = f"{report['ready']} of {report['wanted']} replicas are ready"
    return f"{said}; {report['reason']}" if report["reason"] else said


def _recording(row: dict[str, Any]) -> str:
    """What a recorder does: its strategy, and the episode that it records; empty while there is
    nothing to say, and for every other actor."""
    report = row.get("report") or {}
    if row["kind"] != "recorder" or row["state"] != "READY":
        return ""
    later = _transcoding(report.get("transcoding")), _uploading(report.get("upload"))
    said = "; ".join(filter(None, (report["strategy"], *later)))
    if report["state"] != "recording":
        return said
    counts = f"{report['frames']} frames, {report['dropped']} dropped"
    encoder = f", {report['encoder']}" if report["encoder"] else ""
    recording = f"recording episode {report['episode']}, {counts}{encoder}"
    return f"{said}; {recording}" if said else recording


def _transcoding(transcoding: dict[str, Any] | None) -> str:
    if transcoding is None:
        return ""
    said = f"transcoding to {transcoding['codec']} {transcoding['state']}"
    if transcoding["state"] in {"transcoding", "paused"} and transcoding["videos"]:
        said = f"{transcoding['codec']}: {transcoding['state']}, "
        said += f"{transcoding['transcoded']} of {transcoding['videos']} videos done"
    if transcoding["waits_for"]:
        said += f", because {transcoding['waits_for']}"
    if transcoding["left"]:
        said += f"; {len(transcoding['left'])} videos stay as they are: {transcoding['left'][0]}"
    return f"{said} (last error: {transcoding['error']})" if transcoding["error"] else said


def _uploading(upload: dict[str, Any] | None) -> str:
    if upload is None:
        return ""
    said = f"upload to {upload['repo_id']} {upload['state']}"
    if upload.get("waits_for"):
        said += f" for {upload['waits_for']}"
    if upload["waiting"]:
        said += f", {upload['waiting']} episodes wait"
    if upload["state"] in {"sending", "paused"}:
        said += f", {upload['sent_mb']} of {upload['size_mb']} MB are sent"
    return f"{said} (last error: {upload['error']})" if upload["error"] else said


def _about_commands(row: dict[str, Any], name: str) -> Iterator[Note]:
    if refused := refusal(row):
        yield Note(Weight.WRONG, name, refused)
    for warning in row.get("warnings", ()):
        yield Note(Weight.WARNS, name, f"warning: {warning}")
    lost = {
        "chunks dropped": row.get("dropped") or {},
        "commands refused": row.get("refused_commands") or {},
        "actions dropped": {
            "too old": row.get("stale_dropped") or 0,
            "void after a gap of the driver": row.get("void_dropped") or 0,
        },
    }
    counted = [f"{what}: {counts}" for what, by in lost.items() if (counts := _counts(by))]
    if counted:
        yield Note(Weight.LOST, name, "; ".join(counted))


def _counts(by_reason: dict[str, int]) -> str:
    """`12 expired, 3 unsent`, the most first."""
    most = sorted(by_reason.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {reason}" for reason, count in most if count)

"""The status of a fleet as one plain object, for `actorctl status --json`, the dashboard and the
live view. Its names are an interface: they are added to, never changed.

`healthy` means that nothing needs a person: every actor is READY (or was stopped by a person) and
every robot executes its plan, which its limits accept, or is paused. `health` gives the reasons in
sentences. A robot whose emergency stop is engaged is STOPPED, whatever else is so: `estop` has
the sender, the reason, the time, and whether its device has confirmed it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ...transport.stop_bodies import STOPPED
from ..driver.latch import EmergencyStop
from ..runtime.spec import Member, Rules
from . import health, report_reader
from .known_brokers import known_brokers
from .restart_policy import hang_timeout_s
from .site import Stops, site
from .supervised import ActorRecord, ActorState
from .waits import waits_for

DOWN = "DOWN"
"""The state of a robot without a control actor."""


class ActorFacts(msgspec.Struct, kw_only=True):
    """What the supervisor knows of one actor, beside the state machine's record of it."""

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
    call: str = ""
    """The call of foreign code that it runs, as it noted it; empty if it runs none."""
    python: str | None = None
    """Its interpreter, where that is not the supervisor's own."""


class LogFacts(msgspec.Struct, frozen=True):
    """The fleet's log on disk: how many lines were lost, and why none is written now (or "")."""

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
    now_s: float | None = None,
    log: LogFacts | None = None,
    stops: Mapping[str, EmergencyStop] | None = None,
    stops_elsewhere: Stops | None = None,
) -> dict[str, Any]:
    """The status object. `actors` and `members` are the state machine's, by name, and `now_s` is of
    its clock; `stops` are the emergency stops in force, by robot, and
    `stops_elsewhere` finds those of robots of scripts and other hosts."""
    by_name = {fact.name: fact for fact in facts}
    now_s = time.monotonic() if now_s is None else now_s
    rows = [
        _actor(fact, actors, (members or {}).get(name, Member(name)).rules, now_s)
        for name, fact in by_name.items()
    ]
    by_row = {row["name"]: row for row in rows}
    robot_rows = [_robot(name, by_row, (stops or {}).get(name)) for name in robots]
    witness = by_row.get("witness")
    body = {
        "fleet": fleet,
        "healthy": False,
        "uptime_s": round(uptime_s, 3),
        "time": time.time(),
        "actors": rows,
        "robots": robot_rows,
        "site": site(rows, robot_rows, stops_elsewhere),
        "brokers": known_brokers(rows),
        "witness": None if witness is None else witness["report"],
        "log": msgspec.to_builtins(log or LogFacts()),
    }
    at_work = any(row["state"] == ActorState.READY for row in rows)
    body["healthy"] = at_work and not health.unhealthy(body)
    return body


def _actor(
    fact: ActorFacts, actors: Mapping[str, ActorRecord], rules: Rules, now_s: float
) -> dict[str, Any]:
    actor = actors[fact.name]
    report, misfits = report_reader.read(fact.kind, fact.report)
    return {
        "name": fact.name,
        "kind": fact.kind,
        "robot": fact.robot,
        "state": actor.state.value,
        "pid": fact.pid,
        "python": fact.python,
        "incarnation": actor.incarnation,
        "restarts": actor.restarts,
        "uptime_s": _rounded(fact.uptime_s),
        # The actor may have turned since `now_s` was read.
        "progress_age_s": _rounded(fact.progress_age_s and max(0.0, fact.progress_age_s)),
        "hang_timeout_s": hang_timeout_s(actor, rules),
        "call": fact.call,
        "memory_mb": _rounded(fact.memory_mb),
        "last_exit": fact.last_exit,
        "last_error": fact.last_error,
        "reason": "" if actor.state is ActorState.READY else actor.reason,
        "waits_for": waits_for(actor, rules, actors, report, now_s),
        "report": report,
        "misreported": misfits,
    }


def _robot(
    name: str, rows: Mapping[str, dict[str, Any]], stop: EmergencyStop | None
) -> dict[str, Any]:
    record, driver = rows[f"{name}/control"], rows.get(f"{name}/driver")
    # The row has every key, also where an actor of another kind has the name of a robot's control.
    report = report_reader.unreported("control") | (record["report"] or {})
    driver_report = report_reader.unreported("driver") | ((driver and driver["report"]) or {})
    row: dict[str, Any] = {"name": name} | report | {"name": name}
    # The last report of a control actor that does not run: its counters hold, its state does not.
    if (record["state"] != ActorState.READY and report["state"] != "DEAD") or not report["state"]:
        row["state"] = DOWN
        row["reason"] = _why_down(record)
        row["refusing_s"], row["refusing"], row["warnings"] = 0.0, "", []
    elif not report["reason"] and row["state"] == "PAUSED":
        verb = "take-over" if report["service"] == "" else "resume"
        row["reason"] = _rest(name, rows) or f"`actorctl {verb} {name}` goes on"
    elif not report["reason"] and row["state"] == "MANUAL":
        row["reason"] = _rest(name, rows) or (
            f"`actorctl pause {name}` stops following the person"
            if report["service"] == ""
            else f"`actorctl resume {name}` gives it back to the policy"
        )
    network = (rows.get(f"{name}/network") or {}).get("report") or {}
    row["uplink"] = network.get("uplink", {})
    row["uplink_limit"] = network.get("uplink_limit", "")
    recorder = rows.get(f"{name}/recorder")
    row["teleop"] = f"{name}/teleop" in rows
    row["recording"] = recorder and (recorder["report"] or report_reader.unreported("recorder"))
    row["stopped"] = record["state"] == ActorState.STOPPED
    row["task"] = report["task"] or driver_report["task"]
    for key, in_driver in (("episodes", "tried"), ("successes", "successes")):
        row[key] = report[key] if driver_report[in_driver] is None else driver_report[in_driver]
    _stop(row, stop, driver if driver is not None else record)
    return row


def _rest(robot: str, rows: Mapping[str, dict[str, Any]]) -> str:
    """Why its strategy has the robot rest, and what begins the next episode; empty if it does
    not."""
    report = (rows.get(f"{robot}/recorder") or {}).get("report") or {}
    return {
        "start": f"`actorctl episode start {robot}` begins the next episode",
        "time": "its strategy begins the next episode after `reset_time_s`",
        "nothing": "its strategy has recorded all episodes",
    }.get(report.get("awaits", ""), "")


def _stop(row: dict[str, Any], latched: EmergencyStop | None, driver: dict[str, Any]) -> None:
    """The emergency stop in a robot's row: what its latch and its driver say."""
    said = (driver["report"] or {}).get("estop") if driver["state"] == ActorState.READY else None
    row["estop"] = None
    if latched is None and said is None:
        return
    stop = said or {"confirmed": False, **msgspec.to_builtins(latched)}
    if not (stop["confirmed"] or stop.get("error")):
        stop["error"] = (
            "its driver has not answered yet"
            if driver["state"] == ActorState.READY
            else f"{driver['name']} does not run"
        )
    row["estop"] = {key: stop[key] for key in ("by", "why", "at_s", "confirmed")}
    row["estop"]["error"] = stop.get("error", "")
    row["state"], row["reason"] = STOPPED, health.emergency_stop(row)
    row["refusing_s"], row["refusing"] = 0.0, ""


def _why_down(control: dict[str, Any]) -> str:
    if control["state"] == ActorState.READY:
        return f"{control['name']} has not reported yet"
    return health.sentence(control)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

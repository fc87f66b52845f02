"""A fleet's status for a terminal: the same screen for `supervisor start` and `actorctl`.

Imports rich; commands that print JSON do not import this.
"""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ...actors.supervision.notes import Note, Weight, notes
from .fitted_table import WELL, Column, FittedTable, Row
from .uplink_words import uplink

COLOURS = {
    "READY": "green",
    "STREAMING": "green",
    "OPEN": "green",
    "PAUSED": "cyan",
    "MANUAL": "cyan",
    "STARTING": "yellow",
    "WAITING": "yellow",
    "CONNECTING": "yellow",
    "STOPPING": "yellow",
    "DEGRADED": "yellow",
    "MOVING": "yellow",
    "DRAINING": "yellow",
    "RECONNECTING": "dark_orange",
    "BACKOFF": "dark_orange",
    "STALLED": "dark_orange",
    "STOPPED": "dim",
}
"""Everything else is red."""

_STYLES = {Weight.WRONG: "red", Weight.WAITS: "yellow", Weight.WARNS: "yellow"}


def screen(status: dict[str, Any]) -> RenderableType:
    """The whole status: a line about the fleet, robots, actors, and what is wrong."""
    found = [_line(note) for note in notes(status)]
    tables = [robots(status), *elsewhere(status), *brokers(status)]
    tables += [actors(status, live=False), *interpreters(status)]
    return Group(_headline(status), *tables, *found)


def live_screen(
    status: dict[str, Any], hint: str, height: int, width: int | None = None
) -> RenderableType:
    """The status in `height` lines: what is wrong first, and where not all rows fit, of robots and
    actors those that are not well. Sentences are whole where there is room for it on lines of
    `width`."""
    found = notes(status)
    site = _site(status)
    heads = 2 + sum(len(rows) > 0 for rows in site.values())
    fixed = 1 + heads + len(hint.splitlines())
    headline = _headline(status)
    headline.no_wrap, headline.overflow = True, "ellipsis"
    footer = Text(hint, style="dim")
    known = brokers(status)
    whole = fixed + _count(status) + len(known) * (1 + len(status.get("brokers", ())))
    if width and whole + sum(_lines(note, width) for note in found) <= height:
        tables = [robots(status), *elsewhere(status), *known, actors(status, live=True)]
        return Group(headline, *(_line(note) for note in found), *tables, footer)
    shown = [_line(note, whole=False) for note in found[: max(1, height // 4)]]
    # One more line counts what is left out.
    room = height - fixed - 1 - len(shown)
    if room < 6:
        room, site = room + heads - 2, {kind: [] for kind in site}
    guests = {kind: _fitting(rows, room // 5) for kind, rows in site.items()}
    room -= sum(map(len, guests.values()))
    some_robots = _fitting(status["robots"], room // 2)
    some_actors = _fitting(status["actors"], room - len(some_robots))
    part = {**status, "robots": some_robots, "actors": some_actors, "site": guests}
    parts = [headline, *shown, robots(part), *elsewhere(part), actors(part, live=True)]
    left_out = _count(status) - _count(part) + len(found) - len(shown)
    if left_out:
        words = f"... and {left_out} more: `actorctl status` shows all"
        parts.append(Text(words, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts, footer)


def robots(status: dict[str, Any]) -> RenderableType:
    """A row per robot: its fail-safe state and how its plan is fed. `tick p99` is of the last
    minute. Without any, a line that says why."""
    if not status["robots"]:
        joins = any(row["kind"] == "broker" for row in status["actors"])
        more = "; scripts may join, with RemotePolicy" if joins else ""
        return Text(f"no robots for this host in fleet.yaml{more}", style="dim")
    columns: list[Column] = [
        ("robot", lambda row: row["name"]),
        ("state", _robot_state),
        (">plan s", lambda row: _number(row["plan_s"], "{:.2f}")),
        (">tick p99", lambda row: _number(_recent(row).get("p99"), "{:.0f} µs")),
        (">missed", lambda row: f"{row['missed_ticks']}+{row['missed_ticks_machine']}"),
        (">latency", lambda row: _number(row["request_latency_ms"].get("p50"), "{:.0f} ms")),
        (">stalled", lambda row: str(row["stalled_ticks"])),
        (">dropped", lambda row: str(sum(row["dropped"].values()) + row["stale_dropped"])),
    ]
    if any(row.get("refused_commands") for row in status["robots"]):
        columns.append((">refused", lambda row: str(sum(row["refused_commands"].values()))))
    if any(uplink(row) for row in status["robots"]):
        columns.append((">uplink", uplink))
    columns.append((">done", _done))
    if any(row.get("task") for row in status["robots"]):
        columns.append(("...task", lambda row: row.get("task") or ""))
    return FittedTable(status["robots"], columns, spare=("task",))


def brokers(status: dict[str, Any]) -> list[RenderableType]:
    """A table of the brokers that this host knows, unless it knows its own only."""
    rows = status.get("brokers", [])
    return [FittedTable(rows, _BROKER)] if any(row["address"] for row in rows) else []


def elsewhere(status: dict[str, Any]) -> list[RenderableType]:
    """Tables of the robots, replicas and actors of scripts and other hosts, where there are
    any."""
    site = _site(status)
    tables: list[RenderableType] = []
    if site["robots"]:
        sends = any(uplink(row) for row in site["robots"])
        columns = [*_ROBOT_ELSEWHERE, (">uplink", uplink)] if sends else _ROBOT_ELSEWHERE
        tables.append(FittedTable(site["robots"], columns, spare=("service", "refused")))
    if site["replicas"]:
        tables.append(FittedTable(site["replicas"], _REPLICA_ELSEWHERE))
    if site["actors"]:
        tables.append(FittedTable(site["actors"], _ACTOR_ELSEWHERE))
    return tables


def _robot_state(row: Row) -> Text:
    if row.get("estop"):
        return Text(row["state"], style="bold white on red", no_wrap=True)
    return _state(row["state"])


_BROKER: list[Column] = [
    ("broker", lambda row: row["address"] or "this host"),
    ("state", lambda row: _state(row["state"])),
    (">for", lambda row: _number(row["reachable_s"], "{:.0f} s")),
    ("...used by", lambda row: ", ".join(row["users"])),
    ("reason", lambda row: row["reason"]),
]

_ROBOT_ELSEWHERE: list[Column] = [
    ("other robot", lambda row: row["name"]),
    ("where", lambda row: row["where"]),
    ("service", lambda row: row["service"]),
    ("state", _robot_state),
    (">plan s", lambda row: _number(row["plan_s"], "{:.2f}")),
    (">rate", lambda row: _number(row["fps"], "{:.1f} Hz")),
    (">missed", lambda row: _number(row["missed_steps"], "{}")),
    (">latency", lambda row: _number(row["latency_ms"].get("p50"), "{:.0f} ms")),
    (">stalled", lambda row: _number(row["stalled_steps"], "{}")),
    (">dropped", lambda row: str(sum(row["dropped"].values()))),
    (">refused", lambda row: _number(row["refused"], "{}")),
]
_REPLICA_ELSEWHERE: list[Column] = [
    ("other replica", lambda row: row["name"]),
    ("where", lambda row: row["where"]),
    ("service", lambda row: row["service"]),
    ("state", lambda row: _state(row["state"])),
    (">robots", lambda row: f"{row['sessions']} / {row['capacity']}"),
    (">load", lambda row: _number(row["load"], "{:.0%}")),
    (">progress", lambda row: _number(row["progress_age_s"], "{:.2f} s")),
]
_PROCESS: list[Column] = [
    ("kind", lambda row: row["kind"]),
    ("state", lambda row: _state(row["state"])),
    (">pid", lambda row: str(row["pid"] or "-")),
    (">restarts", lambda row: str(row["restarts"])),
    (">up", lambda row: duration(row["uptime_s"])),
    (">progress", lambda row: _number(row["progress_age_s"], "{:.2f} s")),
]
_LAST_EXIT: Column = ("...last exit", lambda row: row["last_exit"] or "")
_ACTOR_ELSEWHERE: list[Column] = [
    ("other actor", lambda row: row["actor"]),
    ("where", lambda row: row["where"]),
    *_PROCESS,
    _LAST_EXIT,
]


def actors(status: dict[str, Any], live: bool = True) -> RenderableType:
    """A row per actor: its process, and what happened to the one before. A live view gives each a
    line and cuts the last column where it must."""
    columns: list[Column] = [
        ("actor", lambda row: row["name"]),
        *_PROCESS,
        (">MB", lambda row: _number(row["memory_mb"], "{:.0f}")),
        _LAST_EXIT,
    ]
    return FittedTable(status["actors"], columns, spare=("kind", "MB"), one_line=live)


def interpreters(status: dict[str, Any]) -> list[Text]:
    """A line for each interpreter other than the supervisor's: who runs in it."""
    by_path: dict[str, list[str]] = {}
    for row in status["actors"]:
        if row.get("python"):
            by_path.setdefault(row["python"], []).append(row["name"])
    return [
        Text(f"{path} runs {', '.join(names)}", style="dim", overflow="fold")
        for path, names in by_path.items()
    ]


def duration(seconds: float | None) -> str:
    """`3.2 s`, `4 min`, `2.5 h`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _fitting(rows: list[Row], room: int) -> list[Row]:
    """At most `room` of the rows, one at least, in their order; those that are not well first."""
    urgent = sorted(range(len(rows)), key=lambda i: rows[i]["state"] in WELL)
    return [rows[i] for i in sorted(urgent[: max(1, room)])]


def _site(status: dict[str, Any]) -> dict[str, list[Row]]:
    """By kind what has a table: a note tells of each robot that is away."""
    site = status.get("site", {})
    return {kind: site.get(kind, []) for kind in ("robots", "replicas", "actors")}


def _count(status: dict[str, Any]) -> int:
    site = _site(status)
    return sum(map(len, (status["robots"], status["actors"], *site.values())))


def _lines(note: Note, width: int) -> int:
    return len(wrap(f"{note.name}: {note.text}", width))


def _line(note: Note, whole: bool = True) -> Text:
    return Text(
        f"{note.name}: {note.text}",
        style=_STYLES.get(note.weight, "dim"),
        no_wrap=not whole,
        overflow="fold" if whole else "ellipsis",
    )


def _headline(status: dict[str, Any]) -> Text:
    healthy = status["healthy"]
    text = Text(status["fleet"], style="bold")
    states = {row["state"] for row in status["actors"]}
    ending = bool(states) and states <= {"STOPPING", "STOPPED"}
    if ending:
        text.append("  stopped" if states == {"STOPPED"} else "  stopping", "yellow")
    else:
        text.append("  healthy" if healthy else "  not healthy", "green" if healthy else "red")
    site = status.get("site", {})
    robots = [*status["robots"], *site.get("robots", ()), *site.get("whole", ())]
    held = [row["name"] for row in robots if row.get("estop") or row["state"] == "STOPPED"]
    if held:
        text.append(f"  EMERGENCY STOP: {', '.join(held)} ", "bold white on red")
    stopped = sum(row["state"] == "STOPPED" for row in status["actors"])
    if stopped and not ending:
        text.append(f", {stopped} stopped by a person", "yellow")
    text.append(f"  up {duration(status['uptime_s'])}", "dim")
    witness = status["witness"]
    if witness:
        worst = (witness["oversleep_us"].get("max") or 0.0) / 1000
        text.append(f"  machine: {witness['pauses']} pauses, longest {worst:.1f} ms", "dim")
    if lost := (status.get("log") or {}).get("lost"):
        text.append(f"  {lost} log lines lost", "yellow")
    return text


def _recent(row: Row) -> dict[str, Any]:
    """How late the ticks of the last minute began."""
    recent: dict[str, Any] = row.get("tick_lateness_recent_us") or row["tick_lateness_us"]
    return recent


def _done(row: Row) -> str:
    return f"{row['successes'] if row['successes'] is not None else '-'} / {row['episodes']}"


def _state(state: str) -> Text:
    return Text(state, style=COLOURS.get(state, "bold red"), no_wrap=True)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)

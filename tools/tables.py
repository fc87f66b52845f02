"""A fleet's status as something to look at: the same screen for `supervisor start` and `actorctl`.

Imports rich; whoever prints JSON does not import this.
"""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

COLOURS = {
    "READY": "green",
    "STREAMING": "green",
    "PAUSED": "cyan",
    "STARTING": "yellow",
    "WAITING": "yellow",
    "CONNECTING": "yellow",
    "STOPPING": "yellow",
    "DEGRADED": "yellow",
    "RECONNECTING": "yellow",
    "BACKOFF": "dark_orange",
    "STALLED": "dark_orange",
    "STOPPED": "dim",
}
"""Everything else is red."""


def screen(status: dict[str, Any]) -> RenderableType:
    """The whole status: a line about the fleet, robots, actors, and what is wrong."""
    wrong = [Text(f"{name}: {what}", style="red") for name, what in troubles(status)]
    return Group(_headline(status), robots(status), actors(status), *wrong)


def live_screen(status: dict[str, Any], hint: str, height: int) -> RenderableType:
    """The status in `height` lines: what is wrong first, and where not all rows fit, of the robots
    and actors those that are not well."""
    wrong = [
        Text(f"{name}: {what}", style="red", no_wrap=True, overflow="ellipsis")
        for name, what in troubles(status)
    ][: max(1, height // 4)]
    # The headline, two tables' heads and the line that says what is left out.
    room = height - 4 - len(wrong) - len(hint.splitlines())
    some_robots = _fitting(status["robots"], room // 2, ("STREAMING", "PAUSED"))
    some_actors = _fitting(status["actors"], room - len(some_robots), ("READY",))
    left_out = len(status["robots"]) - len(some_robots) + len(status["actors"]) - len(some_actors)
    shown = {**status, "robots": some_robots, "actors": some_actors}
    parts: list[RenderableType] = [_headline(status), *wrong, robots(shown), actors(shown)]
    if left_out:
        parts.append(Text(f"... and {left_out} more: `actorctl status` shows all", style="dim"))
    return Group(*parts, Text(hint, style="dim"))


def _fitting(rows: list[dict[str, Any]], room: int, well: tuple[str, ...]) -> list[dict[str, Any]]:
    """At most `room` of the rows, one at least, in their order."""
    urgent = sorted(range(len(rows)), key=lambda i: rows[i]["state"] in well)
    return [rows[i] for i in sorted(urgent[: max(1, room)])]


def robots(status: dict[str, Any]) -> Table:
    """A row per robot: its fail-safe state and how its plan is fed."""
    table = _table(
        "robot",
        "state",
        ">plan s",
        ">tick p99",
        ">missed",
        ">latency",
        ">stalled",
        ">dropped",
        ">done",
    )
    for row in status["robots"]:
        lateness, latency = row["tick_lateness_us"], row["request_latency_ms"]
        table.add_row(
            row["name"],
            _state(row["state"]),
            _number(row["plan_s"], "{:.2f}"),
            _number(lateness.get("p99"), "{:.0f} µs"),
            f"{row['missed_ticks']}+{row['missed_ticks_machine']}",
            _number(latency.get("p50"), "{:.0f} ms"),
            str(row["stalled_ticks"]),
            str(sum(row["dropped"].values()) + row["stale_dropped"]),
            f"{row['successes'] if row['successes'] is not None else '-'} / {row['episodes']}",
        )
    return table


def actors(status: dict[str, Any]) -> Table:
    """A row per actor: its process, and what happened to the one before. Fits 80 columns."""
    table = _table(
        "actor",
        "kind",
        "state",
        ">pid",
        ">restarts",
        ">up",
        ">progress",
        ">MB",
        "last exit",
    )
    for row in status["actors"]:
        table.add_row(
            row["name"],
            row["kind"],
            _state(row["state"]),
            str(row["pid"] or "-"),
            str(row["restarts"]),
            duration(row["uptime_s"]),
            _number(row["progress_age_s"], "{:.2f} s"),
            _number(row["memory_mb"], "{:.0f}"),
            Text(row["last_exit"] or "", no_wrap=True, overflow="ellipsis"),
        )
    return table


def troubles(status: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, sentence) of all that is not as it should be."""
    found = []
    for row in status["actors"]:
        if row["state"] not in ("READY", "STOPPED", "STARTING", "WAITING", "STOPPING"):
            reason = row["reason"] or row["last_exit"] or row["state"]
            error = row["last_error"]
            said = f" - {error}" if error and error not in reason else ""
            found.append((row["name"], f"{row['state']}: {reason}{said}"))
    for row in status["robots"]:
        if row["state"] == "DEAD" or (row["reason"] and row["state"] not in ("STREAMING", "DOWN")):
            found.append((row["name"], f"{row['state']}: {row['reason']}"))
    return found


def duration(seconds: float | None) -> str:
    """`3.2 s`, `4 min`, `2.5 h`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _headline(status: dict[str, Any]) -> Text:
    healthy = status["healthy"]
    text = Text(status["fleet"], style="bold")
    text.append("  healthy" if healthy else "  not healthy", "green" if healthy else "red")
    text.append(f"  up {duration(status['uptime_s'])}", "dim")
    witness = status["witness"]
    if witness:
        worst = witness["oversleep_us"]["max"] / 1000
        text.append(f"  machine: {witness['pauses']} pauses, longest {worst:.1f} ms", "dim")
    return text


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for column in columns:
        right = column.startswith(">")
        # What must give way on a narrow terminal is the last column, if it is prose.
        gives = column == "last exit"
        table.add_column(
            Text(column.lstrip(">"), no_wrap=True, overflow="ellipsis"),
            justify="right" if right else "left",
            no_wrap=not gives,
            min_width=4 if gives else None,
        )
    return table


def _state(state: str) -> Text:
    return Text(state, style=COLOURS.get(state, "bold red"))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)

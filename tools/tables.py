"""A fleet's status as something to look at: the same screen for `supervisor start` and `actorctl`.

Imports rich; whoever prints JSON does not import this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from textwrap import wrap
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ..actors.supervision.notes import Note, Weight, notes

COLOURS = {
    "READY": "green",
    "STREAMING": "green",
    "OPEN": "green",
    "PAUSED": "cyan",
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

NARROW = 100
"""Columns below which a table leaves out what can be had elsewhere."""
PROSE = 18
"""Columns that prose is given at least: `killed by SIGKILL`."""
_STYLES = {Weight.WRONG: "red", Weight.WAITS: "yellow", Weight.WARNS: "yellow"}
_WELL = ("READY", "STREAMING", "PAUSED", "OPEN")

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str | Text]]
"""The heading, with `>` for figures, `...` for prose that gives way; and the cell of a row."""


def screen(status: dict[str, Any]) -> RenderableType:
    """The whole status: a line about the fleet, robots, actors, and what is wrong."""
    told = [_line(note) for note in notes(status)]
    tables = robots(status), *elsewhere(status), actors(status, live=False)
    return Group(_headline(status), *tables, *told)


def live_screen(
    status: dict[str, Any], hint: str, height: int, width: int | None = None
) -> RenderableType:
    """The status in `height` lines: what is wrong first, and where not all rows fit, of robots and
    actors those that are not well. Sentences are whole where there is room for it on lines of
    `width`."""
    told = notes(status)
    site = _site(status)
    heads = 2 + (len(site["robots"]) > 0) + (len(site["replicas"]) > 0)
    fixed = 1 + heads + len(hint.splitlines())
    headline = _headline(status)
    headline.no_wrap, headline.overflow = True, "ellipsis"
    footer = Text(hint, style="dim")
    if width and fixed + _count(status) + sum(_lines(note, width) for note in told) <= height:
        lines = [_line(note) for note in told]
        return Group(
            headline, *lines, robots(status), *elsewhere(status), actors(status, live=True), footer
        )
    shown = [_line(note, whole=False) for note in told[: max(1, height // 4)]]
    # One line more says what is left out.
    room = height - fixed - 1 - len(shown)
    if room < 6:
        room, site = room + heads - 2, {"robots": [], "replicas": []}
    guests = {kind: _fitting(rows, room // 5) for kind, rows in site.items()}
    room -= sum(map(len, guests.values()))
    some_robots = _fitting(status["robots"], room // 2)
    some_actors = _fitting(status["actors"], room - len(some_robots))
    part = {**status, "robots": some_robots, "actors": some_actors, "site": guests}
    parts = [headline, *shown, robots(part), *elsewhere(part), actors(part, live=True)]
    left_out = _count(status) - _count(part) + len(told) - len(shown)
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
        ("state", lambda row: _state(row["state"])),
        (">plan s", lambda row: _number(row["plan_s"], "{:.2f}")),
        (">tick p99", lambda row: _number(_recent(row).get("p99"), "{:.0f} µs")),
        (">missed", lambda row: f"{row['missed_ticks']}+{row['missed_ticks_machine']}"),
        (">latency", lambda row: _number(row["request_latency_ms"].get("p50"), "{:.0f} ms")),
        (">stalled", lambda row: str(row["stalled_ticks"])),
        (">dropped", lambda row: str(sum(row["dropped"].values()) + row["stale_dropped"])),
    ]
    if any(row.get("refused_commands") for row in status["robots"]):
        columns.append((">refused", lambda row: str(sum(row["refused_commands"].values()))))
    columns.append((">done", _done))
    return _Fitted(status["robots"], columns)


def elsewhere(status: dict[str, Any]) -> list[RenderableType]:
    """Tables of the robots and the replicas of scripts and other hosts, where there are any."""
    site = _site(status)
    tables: list[RenderableType] = []
    if site["robots"]:
        tables.append(_Fitted(site["robots"], _ROBOT_ELSEWHERE, spare=("service", "refused")))
    if site["replicas"]:
        tables.append(_Fitted(site["replicas"], _REPLICA_ELSEWHERE))
    return tables


_ROBOT_ELSEWHERE: list[Column] = [
    ("other robot", lambda row: row["name"]),
    ("where", lambda row: row["where"]),
    ("service", lambda row: row["service"]),
    ("state", lambda row: _state(row["state"])),
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


def actors(status: dict[str, Any], live: bool = True) -> RenderableType:
    """A row per actor: its process, and what happened to the one before. A live view gives each a
    line and cuts the last column where it must."""
    columns: list[Column] = [
        ("actor", lambda row: row["name"]),
        ("kind", lambda row: row["kind"]),
        ("state", lambda row: _state(row["state"])),
        (">pid", lambda row: str(row["pid"] or "-")),
        (">restarts", lambda row: str(row["restarts"])),
        (">up", lambda row: duration(row["uptime_s"])),
        (">progress", lambda row: _number(row["progress_age_s"], "{:.2f} s")),
        (">MB", lambda row: _number(row["memory_mb"], "{:.0f}")),
        ("...last exit", lambda row: row["last_exit"] or ""),
    ]
    return _Fitted(status["actors"], columns, spare=("kind", "MB"), one_line=live)


def duration(seconds: float | None) -> str:
    """`3.2 s`, `4 min`, `2.5 h`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Fitted:
    """A table for the width that it gets: a narrow one is without the `spare` columns, and closer
    where it must be."""

    def __init__(
        self,
        rows: Iterable[Row],
        columns: list[Column],
        spare: tuple[str, ...] = (),
        one_line: bool = True,
    ) -> None:
        rows = list(rows)
        self._told = [row["state"] not in _WELL for row in rows]
        """Of those that are not well a note says all, below the tables."""
        self._headings = [heading for heading, _ in columns]
        self._cells = [[cell(row) for _, cell in columns] for row in rows]
        self._spare, self._one_line = spare, one_line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        spare = self._spare if options.max_width < NARROW else ()
        kept = [k for k, heading in enumerate(self._headings) if heading.lstrip(">") not in spare]
        widths = {k: max(cell_len(str(c)) for c in self._column(k)) for k in kept}
        prose = next((k for k in kept if self._headings[k].startswith("...")), None)
        fixed = sum(width for k, width in widths.items() if k != prose)
        least = 0 if prose is None else min(widths[prose], PROSE)
        gap = 2 if fixed + least + 2 * (len(kept) - 1) <= options.max_width else 1
        left = max(4, options.max_width - fixed - gap * (len(kept) - 1))
        table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
        for k in kept:
            title = Text(self._headings[k].lstrip(">."), no_wrap=True)
            wraps = k == prose and not self._one_line
            figure = self._headings[k].startswith(">")
            table.add_column(title, justify="right" if figure else "left", no_wrap=not wraps)
        for row in self._cells:
            table.add_row(*(self._cut(row[k], left) if k == prose else row[k] for k in kept))
        yield table
        if prose is not None and not self._one_line:
            for row, told in zip(self._cells, self._told, strict=True):
                if not told and not _fits(row[prose], left):
                    yield Text(f"{row[0]} ended: {row[prose]}", style="dim", overflow="fold")

    def _column(self, k: int) -> list[str | Text]:
        return [self._headings[k].lstrip(">."), *(row[k] for row in self._cells)]

    def _cut(self, cell: str | Text, width: int) -> Text:
        """Prose that would make a tower is cut here, and stands whole below the table."""
        text = Text(str(cell))
        if self._one_line or not _fits(cell, width):
            text.truncate(width, overflow="ellipsis")
        return text


def _fits(cell: str | Text, width: int) -> bool:
    return cell_len(str(cell)) <= 2 * width


def _fitting(rows: list[Row], room: int) -> list[Row]:
    """At most `room` of the rows, one at least, in their order; those that are not well first."""
    urgent = sorted(range(len(rows)), key=lambda i: rows[i]["state"] in _WELL)
    return [rows[i] for i in sorted(urgent[: max(1, room)])]


def _site(status: dict[str, Any]) -> dict[str, list[Row]]:
    return {"robots": [], "replicas": [], **status.get("site", {})}


def _count(status: dict[str, Any]) -> int:
    site = _site(status)
    return sum(map(len, (status["robots"], status["actors"], site["robots"], site["replicas"])))


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
    text.append("  healthy" if healthy else "  not healthy", "green" if healthy else "red")
    stopped = sum(row["state"] == "STOPPED" for row in status["actors"])
    if stopped:
        text.append(f", {stopped} stopped by a person", "yellow")
    text.append(f"  up {duration(status['uptime_s'])}", "dim")
    witness = status["witness"]
    if witness:
        worst = witness["oversleep_us"]["max"] / 1000
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

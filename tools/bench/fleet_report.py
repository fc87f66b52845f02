"""The report of the fleet benchmark: a table, its aims, and curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .fleet_cost import cost_of

Row = dict[str, Any]

FAIR = 1.5
AT_LOAD = (0.7, 0.9)
ENOUGH = 20
"""Requests of each robot, for a p99 that is not chance alone."""
MS_REQUEST = 0.15
SPREAD = 1.2


def aims(rows: list[Row]) -> list[dict[str, Any]]:
    """Each aim, what was found, and whether it is met; those that no row is about are left out."""
    found: list[dict[str, Any]] = []

    def judge(
        about: str,
        value: float,
        most: float,
        floor: float | None = None,
        floor_is: str = "a broker that decides nothing",
    ) -> None:
        aim = {"aim": about, "found": value, "most": most, "met": value <= most}
        found.append(aim | {"floor": floor, "floor_is": floor_is})

    if (ratio := _spread(rows, "us_message")) is not None:
        about = "broker CPU per message, wake-ups in it, most over least"
        judge(about, ratio, SPREAD, _spread(rows, "floor_us_message"))
    if (cost := cost_of(rows)) is not None:
        judge(
            "broker CPU over its wake-ups' and messages' cost, most over least", cost["off"], SPREAD
        )
    loaded = [
        row
        for row in rows
        if AT_LOAD[0] <= row["load"] <= AT_LOAD[1] and row["kept"] and row["fewest"] >= ENOUGH
    ]
    if loaded:
        worst = max(loaded, key=lambda row: row["fairness"] or 0.0)
        judge(
            "fairness at 80 % load, slowest over fastest robot's p99",
            worst["fairness"] or 0.0,
            FAIR,
            worst["dealt_fairness"],
            f"the latencies of the {worst['robots']} robots dealt at random",
        )
    judge("robots without a chunk", sum(row["starved"] for row in rows), 0)
    largest = max(rows, key=lambda row: int(row["robots"]))
    judge(
        f"broker CPU per request with {largest['robots']} robots, ms",
        largest["ms_request"],
        MS_REQUEST,
        largest.get("floor_ms_request"),
    )
    return found


def _spread(rows: list[Row], key: str) -> float | None:
    """The most over the least of what is known and above 0."""
    values = [row[key] for row in rows if row.get(key, 0) > 0]
    return round(max(values) / min(values), 3) if len(values) > 1 else None


_COLUMNS = (
    ("robots", "robots", "{}"),
    ("n", "n", "{}"),
    ("p50 ms", "p50", "{:.1f}"),
    ("p99 ms", "p99", "{:.1f}"),
    ("fairness", "fairness", "{:.2f}"),
    ("dealt", "dealt_fairness", "{:.2f}"),
    ("p90 ratio", "fairness_p90", "{:.2f}"),
    ("dealt", "dealt_fairness_p90", "{:.2f}"),
    ("repeated", "repeated", "{:.2f}"),
    ("req/s", "requests_per_s", "{:.0f}"),
    ("load", "load", "{:.2f}"),
    ("batch", "batch", "{:.1f}"),
    ("µs/message", "us_message", "{:.1f}"),
    ("floor", "floor_us_message", "{:.1f}"),
    ("wakes/message", "wakes_message", "{:.2f}"),
    ("ms/request", "ms_request", "{:.3f}"),
    ("floor", "floor_ms_request", "{:.3f}"),
    ("broker cpu", "broker_cpu", "{:.3f}"),
    ("idle", "idle_cpu", "{:.3f}"),
    ("MB", "broker_mb", "{:.0f}"),
    ("late ms", "late_ms", "{:.1f}"),
    ("cores", "load_cores", "{:.2f}"),
)


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    cells = [[title for title, _, _ in _COLUMNS]]
    cells += [[_cell(row.get(key), shape) for _, key, shape in _COLUMNS] for row in report["rows"]]
    widths = [max(len(line[k]) for line in cells) for k in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in cells
    ]
    for row in report["rows"]:
        lines += [f"{row['robots']} robots: {fault}" for fault in _faults(row)]
    if (cost := report["cost"]) is not None:
        idle = min(row["idle_cpu"] for row in report["rows"])
        lines.append(
            f"broker: {idle:.3f} of a core without robots, and with them {cost['us_wake']:.0f} µs "
            f"a wake-up and {cost['us_each']:.0f} µs a message"
        )
    lines.append(f"reading a header: {report['us_header']:g} µs")
    if report["kb_robot"] is not None:
        lines.append(f"broker: {report['kb_robot']:g} kB of private memory a robot")
    for aim in report["aims"]:
        outcome = "met" if aim["met"] else "missed"
        if aim["floor"] is not None:
            outcome += f" ({aim['floor_is']}: {aim['floor']:g})"
        lines.append(f"{aim['aim']}: {aim['found']:g}, aim {aim['most']:g}: {outcome}")
    lines.append(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    return "\n".join(lines)


def _cell(value: Any, shape: str) -> str:
    return "-" if value is None else shape.format(value)


def _faults(row: Row) -> list[str]:
    found = [
        f"{row[name]} {words}"
        for name, words in (
            ("starved", "of them got no chunk"),
            ("failed", "requests brought no chunk"),
            ("stalled", "ticks without an action"),
            ("replays", "requests replayed"),
        )
        if row[name]
    ]
    if row["placed"] and row["placed"][0] - row["placed"][-1] > 1:
        placed = ", ".join(map(str, row["placed"]))
        found.append(f"{placed} on the replicas: those where there are more wait longer")
    if not row["kept"]:
        found.append(
            f"THE LOAD DID NOT KEEP ITS RATE (ticks {row['late_ms']:.1f} ms late at p99, "
            f"{row['load_cores']:.2f} cores): latency and fairness are its own, not the site's"
        )
    return found


def plot(report: dict[str, Any], path: Path) -> None:
    """Latency, fairness, CPU and memory against the number of robots. Needs matplotlib (the plots
    extra)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = sorted(report["rows"], key=lambda row: int(row["robots"]))
    robots = [row["robots"] for row in rows]
    parts = (
        ("request latency, ms", {"p50": "p50", "p99": "p99"}, None),
        (
            "slowest over fastest robot's p99",
            {"fairness": "fairness", "dealt_fairness": "dealt at random"},
            FAIR,
        ),
        ("broker CPU per message, µs", {"us_message": "message"}, None),
        ("broker CPU per request, ms", {"ms_request": "request"}, MS_REQUEST),
        ("private memory, MB", {"broker_mb": "broker", "replica_mb": "replica"}, None),
    )
    figure, axes = plt.subplots(1, len(parts), figsize=(4 * len(parts), 3.5))
    for axis, (title, curves, most) in zip(axes, parts, strict=True):
        for key, label in curves.items():
            axis.plot(robots, [row[key] for row in rows], marker="o", label=label)
        if most is not None:
            axis.axhline(most, linestyle="--", color="gray", label="aim")
        axis.set(title=title, xlabel="robots", xscale="log", ylim=(0, None))
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)

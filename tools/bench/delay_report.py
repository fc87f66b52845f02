"""The report of a delay study: tables, and curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .delay_scene import TASKS

Row = dict[str, Any]


def curves(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, list[Row]]]:
    """The rows by (checkpoint, task) and method, in the order of their delays."""
    found: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in sorted(report["rows"], key=lambda row: int(row["delay_steps"])):
        checkpoint, method, _ = row["case"].rsplit("/", 2)
        methods = found.setdefault((checkpoint, row["task"]), {})
        methods.setdefault(method, []).append(row)
    return found


def table(report: dict[str, Any]) -> str:
    """Success in percent with its 95 % interval, and what else was measured: a line per method and
    a column per delay."""
    lines: list[str] = []
    for (checkpoint, task), methods in curves(report).items():
        delays = [row["delay_steps"] for row in next(iter(methods.values()))]
        parts = [("success, % (95 % interval, Wilson)", _success), ("seam jump, %", _seam)]
        if task == "pusht":
            parts.insert(1, ("greatest coverage, % (standard error)", _score))
        for title, shown in parts:
            lines.append(f"{checkpoint}: {title}")
            lines.append(f"{'delay, ticks':20}" + "".join(f"{delay:>12}" for delay in delays))
            for method, rows in methods.items():
                lines.append(f"{method:20}" + "".join(f"{shown(row):>12}" for row in rows))
    lines.append(
        f"{report['episodes']} seeded episodes a cell; seam jump: median of the episodes' largest "
        "step where chunks meet, in percent of the action's range"
    )
    return "\n".join(lines)


def _success(row: Row) -> str:
    rate = 100 * row["succeeded"] / row["tried"]
    return f"{rate:.0f} {100 * row['low']:2.0f}-{100 * row['high']:.0f}"


def _score(row: Row) -> str:
    return f"{100 * row['score']:.1f} ±{100 * row['score_error']:.1f}"


def _seam(row: Row) -> str:
    return f"{row['seam_p50']:.1f}"


def plot(report: dict[str, Any], path: Path) -> None:
    """Success, coverage and seam jumps as curves, a column per policy. Needs matplotlib (the plots
    extra)."""
    import matplotlib as mpl

    mpl.use("Agg")  # no display needed
    from matplotlib import pyplot as plt

    found = curves(report)
    panels = [("success, % (95 % interval)", _success_band)]
    if any(task == "pusht" for _, task in found):
        panels.append(("greatest coverage, % (95 % interval)", _score_band))
    panels.append(("seam jump, % of the range (quartiles)", _seam_band))
    figure, axes = plt.subplots(
        len(panels),
        len(found),
        figsize=(6.5 * len(found), 3.6 * len(panels)),
        sharex="col",
        squeeze=False,
    )
    for column, ((checkpoint, task), methods) in enumerate(found.items()):
        for axis, (label, band) in zip(axes[:, column], panels, strict=True):
            for method, rows in methods.items():
                delays = [row["delay_steps"] for row in rows]
                low, middle, high = zip(*map(band, rows), strict=True)
                (line,) = axis.plot(delays, middle, marker="o", markersize=3, label=method)
                axis.fill_between(delays, low, high, alpha=0.12, color=line.get_color())
            axis.grid(alpha=0.3)
            axis.set_ylabel(label)
            axis.set_ylim(bottom=0)
        axes[0, column].set_title(f"{checkpoint}, {report['episodes']} episodes each")
        axes[0, column].legend(fontsize=8)
        axes[-1, column].set_xlabel(f"delay, ticks of {1000 / TASKS[task].hz:.0f} ms")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


Band = tuple[float, float, float]
"""Lower end, value, upper end."""


def _success_band(row: Row) -> Band:
    return 100 * row["low"], 100 * row["succeeded"] / row["tried"], 100 * row["high"]


def _score_band(row: Row) -> Band:
    spread = 1.96 * row["score_error"]
    return 100 * (row["score"] - spread), 100 * row["score"], 100 * (row["score"] + spread)


def _seam_band(row: Row) -> Band:
    return row["seam_p25"], row["seam_p50"], row["seam_p75"]

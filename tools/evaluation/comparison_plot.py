"""The report of an evaluation as a picture. Needs matplotlib (the extra `plots`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_COLOURS = ("tab:blue", "tab:orange")
_SPREAD = 0.12
"""Half of the width in which the points of one service are scattered, so that each is seen."""


def plot(report: dict[str, Any], path: Path) -> None:
    """Write it: success, then each episode's length, seam jump, smoothness, and the latencies."""
    import matplotlib as mpl

    mpl.use("Agg")  # no display needed
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5))
    _success(axes[0, 0], report)
    _course(axes[0, 1], report)
    _points(axes[0, 2], report, "length, s", lambda row: [row["length_s"]])
    _points(axes[1, 0], report, "seam jump, % of the action's range", _of_arms("seam_jump", 100))
    _points(axes[1, 1], report, "SPARC (nearer to 0 is smoother)", _of_arms("sparc"))
    _latency(axes[1, 2], report)
    robots = ", ".join(report["plan"]["robots"])
    partial = f": partial, {report['done']} of {report['of']}" if report["partial"] else ""
    figure.suptitle(f"{' against '.join(report['services'])}, on {robots}{partial}")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _success(axis: Any, report: dict[str, Any]) -> None:
    names = list(report["services"])
    for place, (name, colour) in enumerate(zip(names, _COLOURS, strict=False)):
        row = report["services"][name]
        low, high = 100 * row["low"], 100 * row["high"]
        if row["rate"] is None:
            continue
        rate = 100 * row["rate"]
        error = [[rate - low], [high - rate]]
        axis.bar(place, rate, 0.5, color=colour, alpha=0.5)
        axis.errorbar(place, rate, error, color="black", capsize=6)
    axis.set_ylim(0, 105)
    axis.set_ylabel("success, %, with 95 % intervals")
    rows = report["services"].items()
    _name_places(axis, [f"{name}\n{r['succeeded']} of {r['tried']}" for name, r in rows])


def _course(axis: Any, report: dict[str, Any]) -> None:
    """Successes so far, episode by episode: a drift of the scene bends both lines."""
    for name, colour in zip(report["services"], _COLOURS, strict=False):
        rows = [row for row in report["episodes"] if row["service"] == name]
        counts = np.cumsum([row["success"] for row in rows])
        at = range(1, len(rows) + 1)
        axis.step(at, counts, where="post", color=colour, marker=".", label=name, alpha=0.7)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.yaxis.get_major_locator().set_params(integer=True)
    most = max((row["tried"] for row in report["services"].values()), default=1)
    axis.plot([0, most], [0, most], color="black", alpha=0.2, linewidth=0.8)
    axis.set_xlabel("episodes of the service")
    axis.set_ylabel("successes so far")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def _points(
    axis: Any, report: dict[str, Any], label: str, values: Callable[[dict[str, Any]], list[float]]
) -> None:
    """A point for each episode and arm, filled for a success, and the median as a line."""
    names = list(report["services"])
    for place, (name, colour) in enumerate(zip(names, _COLOURS, strict=False)):
        rows = [row for row in report["episodes"] if row["service"] == name]
        found = [(value, row["success"]) for row in rows for value in values(row)]
        if not found:
            continue
        for n, (value, success) in enumerate(found):
            across = place + _SPREAD * (2 * (n * 0.618 % 1) - 1)  # evenly, and the same each time
            face = colour if success else "none"
            axis.plot(across, value, "o", color=colour, markerfacecolor=face, markersize=4)
        middle = float(np.median([value for value, _ in found]))
        axis.hlines(middle, place - 0.25, place + 0.25, color="black", linewidth=1)
    axis.set_ylabel(label)
    axis.grid(alpha=0.3, axis="y")
    _name_places(axis, names)


def _of_arms(key: str, factor: float = 1) -> Callable[[dict[str, Any]], list[float]]:
    def values(row: dict[str, Any]) -> list[float]:
        found = (arm[key] for arm in row["motion"].values())
        return [factor * value for value in found if value is not None]

    return values


def _latency(axis: Any, report: dict[str, Any]) -> None:
    from matplotlib import ticker

    for name, colour in zip(report["services"], _COLOURS, strict=False):
        rows = [row for row in report["episodes"] if row["service"] == name]
        values = np.sort([ms for row in rows for ms in row["latency_ms"]])
        if len(values):
            share = 100 * np.arange(1, len(values) + 1) / len(values)
            axis.step(values, share, where="post", color=colour, label=name)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(ticker.NullFormatter())
    axis.set_xlabel("request latency, ms")
    axis.set_ylabel("% of requests at most")
    axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8)


def _name_places(axis: Any, names: list[str]) -> None:
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.6, len(names) - 0.4)

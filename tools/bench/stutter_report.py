"""The report of `actorctl bench stutter`: a table, and a drawing of a cut."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .played import STALE_S, Cut, PlayedAction

_BEFORE_S, _AFTER_S = 2.0, 3.0


def markdown(report: dict[str, Any]) -> str:
    """A line for each loop: the median of its cuts, and the worst."""
    lines = [
        "| | idle before, ticks/s | idle, ticks | longest gap, ms | stale actions | recovery, s |",
        "|---|---|---|---|---|---|",
    ]
    absent = []
    for row in report["rows"]:
        if row["n"]:
            keys = ("idle_ticks", "longest_gap_ms", "stale", "recovery_s")
            cells = [f"{row['idle_before_per_s']:g}", *(_cell(row[key]) for key in keys)]
        else:
            cells = ["-"] * 5
            absent.append(f"{row['case']}: not measured: {row['why']}")
        lines.append(f"| {row['case']} | {' | '.join(cells)} |")
    machine = report["machine"]
    n = sorted({row["n"] for row in report["rows"] if row["n"]})
    about = (
        f"The link was cut for {report['cut_s']:g} s, {' and '.join(map(str, n)) or 0} times each: "
        f"the median, and the worst. Measured {report['date']} on {machine['cpus']} CPUs "
        f"({machine['cpu']}), Linux {machine['kernel']}, load {machine['load']}."
    )
    return "\n".join([*lines, "", *absent, about])


def _cell(values: list[float | None]) -> str:
    if None in values:
        return f"none in {values.count(None)} of {len(values)}"
    known = [value for value in values if value is not None]
    middle, worst = float(np.median(known)), max(known)
    return f"{middle:g}" if middle == worst else f"{middle:g} (worst {worst:g})"


def plot(played: Mapping[str, tuple[list[PlayedAction], list[Cut]]], path: Path) -> None:
    """The first cut of each loop: above when a new action was played and how late for what it was
    meant, a panel each. Needs matplotlib (the plots extra)."""
    import matplotlib as mpl

    mpl.use("Agg")  # no display needed
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        len(played), 1, figsize=(9, 2.3 * len(played) + 0.6), sharex=True, squeeze=False
    )
    for axis, (name, (commands, cuts)) in zip(axes[:, 0], played.items(), strict=True):
        cut = cuts[0]
        shown = [
            command
            for command in commands
            if cut.begin_s - _BEFORE_S <= command.at_s <= cut.end_s + _AFTER_S
        ]
        at = np.array([command.at_s - cut.begin_s for command in shown])
        late = np.array([command.late_s for command in shown])
        stale = late > STALE_S
        axis.axvspan(0, cut.end_s - cut.begin_s, color="0.88", label="link cut")
        for begin, end in _gaps(at):
            axis.axvspan(begin, end, ymax=0.12, color="tab:red", alpha=0.75, lw=0)
        axis.axhline(STALE_S, color="0.6", lw=0.8, ls=":")
        axis.plot(at[~stale], late[~stale], ".", ms=4, color="tab:blue", label="action played")
        axis.plot(at[stale], late[stale], ".", ms=5, color="tab:orange", label="stale action")
        axis.fill_between([], [], color="tab:red", alpha=0.75, label="no new action")
        axis.set_title(name, loc="left", fontsize=10)
        axis.set_ylabel("late, s")
        axis.set_ylim(-0.35, 2.6)
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8, ncols=4, loc="upper right")
    axes[-1, 0].set_xlabel("s since the cut; each dot is a new action, by how late it was played")
    axes[-1, 0].set_xlim(-_BEFORE_S, cut.end_s - cut.begin_s + _AFTER_S)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _gaps(at: Any) -> list[tuple[float, float]]:
    """Where three ticks or more passed without a new action."""
    return [(a, b) for a, b in pairwise(at) if b - a > 0.1]

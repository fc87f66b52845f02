"""`actorctl plot ROBOT`: what the robot was commanded and what it measured, as a picture.

Draws the executed steps that the fleet keeps on disk (actors/network/executed_log.py): each joint's
command and state, where chunks change, where a person commanded or a motion to a pose, where no
command went out; below, for a robot with a service, the age of the observation that each action
came from, and the latency of each request, from the audit. Needs no running fleet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...actors.network.executed_log import ExecutedHead, ExecutedStep, read
from ...actors.runtime.bounded_file import older

_SHADES = {
    "none": ("tab:red", "where no command went out"),
    "person": ("tab:blue", "where a person commanded"),
    "motion": ("tab:green", "where it moved to a pose"),
    "fallback": ("tab:orange", "where the fallback commanded"),
}
"""By whose command a step was: its color, and what is said of it."""

_GAP_STEPS = 3
"""Steps further apart than so many periods are not joined by a line."""


@dataclass
class ExecutedRun:
    """The steps of one robot: of one fleet's run and one set of joints."""

    head: ExecutedHead
    steps: list[ExecutedStep] = field(default_factory=list)

    def at_s(self) -> NDArray[np.float64]:
        """The time of day of each step, in seconds [n]."""
        return np.array([step.at_ns + self.head.epoch_ns for step in self.steps]) / 1e9

    def seams(self) -> list[int]:
        """The steps at which a chunk begins to be played."""
        origins = [(step.session, step.seq) for step in self.steps]
        return [k for k in range(1, len(origins)) if origins[k] != origins[k - 1] and origins[k][1]]


def newest(path: Path, since_s: float | None, seconds: float) -> ExecutedRun:
    """The last run in `path` and its older files: since the time of day `since_s`, else its last
    `seconds`. Raises OSError or ValueError."""
    files = [*reversed(older(path)), path]
    runs: list[ExecutedRun] = []
    for line in (line for file in files if file.exists() for line in read(file)):
        if isinstance(line, ExecutedHead):
            if not (runs and _continues(runs[-1], line)):
                runs.append(ExecutedRun(line))
        elif runs:
            if runs[-1].steps and line.tick <= runs[-1].steps[-1].tick:
                runs.append(ExecutedRun(runs[-1].head))  # the count began anew: another run
            runs[-1].steps.append(line)
    runs = [run for run in runs if run.steps]
    if not runs:
        raise ValueError(f"{path} holds no executed steps yet")
    last = runs[-1]
    end_s = (last.steps[-1].at_ns + last.head.epoch_ns) / 1e9
    begin_s = end_s - seconds if since_s is None else since_s
    begin_ns = begin_s * 1e9 - last.head.epoch_ns
    chosen = [step for step in last.steps if step.at_ns >= begin_ns]
    if not chosen:
        raise ValueError(
            f"{path} has no step in that time; its last one is {_clock(end_s)}: --since earlier"
        )
    return ExecutedRun(last.head, chosen)


def _continues(run: ExecutedRun, head: ExecutedHead) -> bool:
    """Whether another writer's head belongs to the run: the joints are the same, and the clock is
    that of one boot (the time of day may have been set by less than a minute)."""
    same = msgspec.structs.replace(head, epoch_ns=run.head.epoch_ns) == run.head
    return same and abs(head.epoch_ns - run.head.epoch_ns) < 60e9


def latencies(audit: Path, begin_s: float, end_s: float) -> NDArray[np.float64]:
    """Time of day and latency of each answered request in between, in seconds [n, 2]."""
    found: list[tuple[float, float]] = []
    for file in [*reversed(older(audit)), audit]:
        if not file.exists():
            continue
        for raw in file.read_bytes().splitlines():
            try:
                line: dict[str, Any] = msgspec.json.decode(raw)
            except msgspec.MsgspecError:
                continue  # the line that is being written
            if line["outcome"] == "reply" and begin_s <= line["at"] <= end_s:
                found.append((line["at"], line["latency_s"]))
    return np.array(found).reshape(-1, 2)


def draw(
    run: ExecutedRun, answered: NDArray[np.float64], joints: Sequence[str], path: Path
) -> None:
    """Write the picture; its ending says which kind. Needs matplotlib (the plots extra)."""
    import matplotlib as mpl

    mpl.use("Agg")  # no display needed
    from matplotlib import pyplot as plt

    times = run.at_s()
    begin_s = times[0]
    at_s = times - begin_s
    breaks = np.flatnonzero(np.diff(at_s) * run.head.fps > _GAP_STEPS) + 1
    states = np.array([step.state for step in run.steps])
    none = [np.nan] * len(run.head.action_names)
    commands = np.array([step.command or none for step in run.steps])
    figure, axes = plt.subplots(
        len(joints) + 1, 1, figsize=(12, 1.7 * (len(joints) + 1) + 0.6), sharex=True, squeeze=False
    )
    for axis, joint in zip(axes[:, 0], joints, strict=False):
        for names, values, label in (
            (run.head.state_names, states, "state"),
            (run.head.action_names, commands, "command"),
        ):
            if joint in names:
                column = values[:, names.index(joint)]
                axis.plot(*_broken(at_s, column, breaks), linewidth=1.2, label=label)
        axis.set_ylabel(joint)
        axis.grid(alpha=0.3)
        for seam in run.seams():
            axis.axvline(at_s[seam], color="black", alpha=0.15, linewidth=0.8)
        for by, (color, _) in _SHADES.items():
            for begin, end in _spans(at_s, [_kind(step) == by for step in run.steps]):
                axis.axvspan(begin, end, color=color, alpha=0.12)
    last = axes[-1, 0]
    ages = np.array([_age_ms(step) for step in run.steps])
    last.plot(*_broken(at_s, ages, breaks), color="tab:green", label="age of the observation")
    last.plot(
        answered[:, 0] - begin_s, answered[:, 1] * 1e3, ".", color="tab:purple", label="latency"
    )
    last.set_ylabel("ms")
    last.set_xlabel(f"seconds since {_clock(begin_s)}")
    last.grid(alpha=0.3)
    axes[0, 0].legend(loc="upper right", fontsize=8)
    last.legend(loc="upper right", fontsize=8)
    axes[0, 0].set_title(f"{run.head.robot}: {legend(run)}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _kind(step: ExecutedStep) -> str | None:
    return "none" if step.command is None else step.by


def legend(run: ExecutedRun) -> str:
    """What the picture's lines and shades mean, of those that it has."""
    seen = {_kind(step) for step in run.steps}
    shades = [
        f"{color.removeprefix('tab:')} {words}"
        for by, (color, words) in _SHADES.items()
        if by in seen
    ]
    lines = ["grey lines where a chunk begins"] if run.seams() else []
    return ", ".join([*lines, *shades]) or "command and state"


def _age_ms(step: ExecutedStep) -> float:
    return np.nan if step.observed_ns is None else (step.at_ns - step.observed_ns) / 1e6


def _broken(
    at_s: NDArray[np.float64], values: NDArray[np.float64], breaks: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The curve with a gap before each index of `breaks`."""
    return np.insert(at_s, breaks, at_s[breaks]), np.insert(values, breaks, np.nan)


def _spans(at_s: NDArray[np.float64], flags: Iterable[bool]) -> list[tuple[float, float]]:
    """Begin and end of each stretch of steps that are flagged."""
    edges = np.diff(np.concatenate(([0], np.array(list(flags), int), [0])))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [
        (float(at_s[begin]), float(at_s[end if end < len(at_s) else -1]))
        for begin, end in zip(begins, ends, strict=True)
    ]


def _clock(at_s: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")

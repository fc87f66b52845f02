"""The report of an evaluation as Markdown, from the values of comparison.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def markdown(report: dict[str, Any], plot: str | None) -> str:
    """The whole report; `plot` is the picture's file beside it, None where it was not drawn."""
    plan = report["plan"]
    title = " against ".join(report["services"])
    robots = ", ".join(plan["robots"])
    lines = [f"# {title}, on {robots}", ""]
    if report["partial"]:
        lines += [
            f"**Partial: {report['done']} of {report['of']} episodes** ({report['partial']}).",
            "",
        ]
    if report["difference"]:
        lines += [report["difference"]["sentence"], ""]
    lines += _table(
        ("service", "success", "rate", "95 % interval", "time limit", "length s, p50 (p90)"),
        (_success(name, row) for name, row in report["services"].items()),
    )
    lines += [f"![the same as a picture]({plot})", ""] if plot else [_NO_PLOT, ""]
    lines += ["## Motion", ""]
    lines += _table(
        (
            "service",
            "robot",
            "arm",
            "seams",
            "seam jump %, p50",
            "largest",
            "SPARC, p50 (quartiles)",
        ),
        (
            _motion(name, robot, arm, row)
            for name, service in report["services"].items()
            for robot, of_robot in service["robots"].items()
            for arm, row in of_robot["arms"].items()
        ),
    )
    lines += [_MOTION, "", "## Supply", ""]
    lines += _table(
        ("service", "latency ms, p50", "p99", "max", "n", *_COUNTED.values(), "images by"),
        (_supply(name, row) for name, row in report["services"].items()),
    )
    lines += [_SUPPLY, ""]
    lines += _invalid(report["invalid"])
    lines += [
        f"{plan['episodes']} episodes of each service, judged by "
        + ("a person" if plan["judge"] == "person" else "the robot's surroundings")
        + f", time limit {plan['time_limit_s']:g} s, order drawn from seed {plan['seed']}; fleet "
        f"{plan['fleet']}.",
        "",
    ]
    return "\n".join(lines)


_NO_PLOT = "No picture: matplotlib is not installed (`pip install 'holdfast[plots]'`)."
_MOTION = (
    "Seam jump: the largest step of the commands where chunks meet, in an episode, in percent "
    "of the range of that action in all episodes here. SPARC (Balasubramanian et al. 2015): nearer "
    "to 0 is smoother; compare it between services of this report only."
)
_COUNTED = {"stalled": "stalled", "missed": "missed", "stale": "stale", "refused": "refused"}
_SUPPLY = (
    "Latency: from the request at the robot to the chunk. Stalled: ticks without an action though "
    "there had been a plan. Missed: ticks that the loop missed by itself + with the whole machine. "
    "Stale: actions too old to be played. Refused: by the robot's limits."
)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _success(name: str, row: dict[str, Any]) -> Sequence[str]:
    rate = "-" if row["rate"] is None else f"{100 * row['rate']:.0f} %"
    return (
        name,
        f"{row['succeeded']} of {row['tried']}",
        rate,
        f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %",
        str(row["time_limits"]),
        f"{_number(row['length_s']['p50'], 1)} ({_number(row['length_s']['p90'], 1)})",
    )


def _motion(name: str, robot: str, arm: str, row: dict[str, Any]) -> Sequence[str]:
    jump, sparc, largest = row["seam_jump"], row["sparc"], row["largest"]
    return (
        name,
        robot,
        arm,
        str(row["seams"]),
        _number(100 * jump["p50"], 1),
        f"{_number(100 * jump['p100'], 1)} ({largest['units']:.3g} of {largest['action']})",
        f"{_number(sparc['p50'], 2)} ({_number(sparc['p25'], 2)}, {_number(sparc['p75'], 2)})",
    )


def _supply(name: str, row: dict[str, Any]) -> Sequence[str]:
    latency, counts, within = row["latency_ms"], row["counts"], row["episodes_with"]
    counted = [_count(counts[key], within[key]) for key in _COUNTED]
    counted[list(_COUNTED).index("missed")] = f"{counts['missed']} + {counts['missed_machine']}"
    by = {(True,): "shared memory", (False,): "JPEG or TCP", (): "-"}
    return (
        name,
        _number(latency["p50"], 1),
        _number(latency["p99"], 1),
        _number(latency["p100"], 1),
        str(latency["n"]),
        *counted,
        by.get(tuple(row["shm"]), "both"),
    )


def _count(number: int, episodes: int) -> str:
    return f"{number} (in {episodes} episodes)" if number else "0"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _invalid(attempts: Sequence[dict[str, Any]]) -> list[str]:
    if not attempts:
        return []
    head = f"{len(attempts)} attempts are not valid and were made again:"
    lines = [f"- {a['robot']}, {a['service']}: {a['reason']}" for a in attempts]
    return [head, "", *lines, ""]

"""The form every figure of a benchmark has: quantiles with their number, and the machine."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray


def parser(name: str, doc: str | None, quick: str) -> argparse.ArgumentParser:
    """The command line of every benchmark: --json, and --quick, which does what `quick` describes.
    `name` and `doc` are its module's."""
    made = argparse.ArgumentParser(
        prog=f"actorctl bench {name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--quick", action="store_true", help=f"{quick}; within 40 s")
    made.add_argument("--json", action="store_true", help="print one JSON object, not a table")
    return made


def count(text: str) -> int:
    """The type of an argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def run(main: Callable[[], int]) -> NoReturn:
    """Run a benchmark's `main` as the process's; Ctrl-C ends it quietly."""
    try:
        status = main()
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def timed(what: Callable[[], object]) -> Callable[[], float]:
    """Does `what` once; how long that took, in ms."""

    def once() -> float:
        began_s = time.perf_counter()
        what()
        return (time.perf_counter() - began_s) * 1e3

    return once


def machine() -> dict[str, Any]:
    """Where the figures come from, and how busy it was with other things."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def today() -> str:
    """The date, for a report that is kept."""
    return dt.datetime.now(tz=dt.UTC).date().isoformat()


def row(
    case: str, values: Sequence[float] | NDArray[np.float64], unit: str, **more: Any
) -> dict[str, Any]:
    """One line: p50, p99, p99.9 and max of `values`, which are in `unit`."""
    if not len(values):
        return {"case": case, "n": 0, "unit": unit, **more}
    quantiles = np.percentile(values, (50, 95, 99, 99.9, 100), method="higher")
    p50, p95, p99, p999, most = (round(float(v), 4) for v in quantiles)
    return {
        "case": case,
        "n": len(values),
        "unit": unit,
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "p999": p999,
        "max": most,
        **more,
    }


_COLUMNS = ("case", "n", "unit", "p50", "p95", "p99", "p999", "max")


def text(report: dict[str, Any]) -> str:
    """The report for people: a table, and below it the machine."""
    lines = [f"{'case':44} {'n':>6} {'p50':>9} {'p95':>9} {'p99':>9} {'p99.9':>9} {'max':>10}"]
    for r in report["rows"]:
        figures = [f"{r[k]:9.2f}" if k in r else " " * 9 for k in ("p50", "p95", "p99", "p999")]
        most = f"{r['max']:10.2f}" if "max" in r else " " * 10
        more = "".join(f", {key} {value}" for key, value in r.items() if key not in _COLUMNS)
        lines.append(f"{r['case']:44} {r['n']:6} {' '.join(figures)} {most} {r['unit']}{more}")
    about = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    return "\n".join([*lines, about])

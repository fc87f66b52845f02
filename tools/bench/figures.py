"""The form every figure of a benchmark has: quantiles with their number, and the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np


def machine() -> dict[str, Any]:
    """Where the figures come from, and how busy it was with other things."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def row(case: str, values: Sequence[float], unit: str, **more: Any) -> dict[str, Any]:
    """One line: p50, p99, p99.9 and max of `values`, which are in `unit`."""
    if not len(values):
        return {"case": case, "n": 0, "unit": unit, **more}
    quantiles = np.percentile(values, (50, 95, 99, 99.9, 100), method="higher")
    p50, p95, p99, p999, most = (round(float(v), 3) for v in quantiles)
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


def text(report: dict[str, Any]) -> str:
    """The report for people: a table, and below it the machine."""
    lines = [f"{'case':44} {'n':>6} {'p50':>9} {'p95':>9} {'p99':>9} {'p99.9':>9} {'max':>10}"]
    for r in report["rows"]:
        figures = [f"{r[k]:9.2f}" if k in r else " " * 9 for k in ("p50", "p95", "p99", "p999")]
        most = f"{r['max']:10.2f}" if "max" in r else " " * 10
        lines.append(f"{r['case']:44} {r['n']:6} {' '.join(figures)} {most} {r['unit']}")
    about = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    return "\n".join([*lines, about])

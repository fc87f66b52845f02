"""The points of metrics: figures of a report under their names, in base units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Point = tuple[str, tuple[str, ...], float | None]
"""Name, label values, and the value; None where there is none yet."""
Report = Mapping[str, Any]

_QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99", "max": "1"}


def quantiles(
    name: str, labels: tuple[str, ...], summary: Mapping[str, float | None], unit: float
) -> Iterator[Point]:
    for key, quantile in _QUANTILES.items():
        yield name, (*labels, quantile), scaled(summary.get(key), unit)


def scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value * unit

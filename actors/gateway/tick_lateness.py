"""The histogram of how late robots' ticks began, as a family of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import HistogramMetricFamily, Metric

from .metric_names import FAMILIES
from .metric_points import Report

_NAME = "holdfast_robot_tick_lateness_seconds"


def tick_lateness(robots: Iterable[Report]) -> Iterator[Metric]:
    """That of each of `robots` that has reported one."""
    family = HistogramMetricFamily(_NAME, FAMILIES[_NAME].about, labels=FAMILIES[_NAME].labels)
    for robot in robots:
        buckets = robot.get("tick_lateness_buckets_us")
        if buckets:
            *edges, (_, total) = buckets
            below = [(repr(edge / 1e6), float(count)) for edge, count in edges]
            family.add_metric([robot["name"]], [*below, ("+Inf", float(total))], None)
    if family.samples:
        yield family

"""The metric that says each robot's tags: 1, with a label for each tag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from ..runtime.tag_labels import tag_label
from .metric_names import FAMILIES

_NAME = "holdfast_robot_info"


def robot_info(robots: Mapping[str, Mapping[str, str]]) -> Iterator[Metric]:
    """One series for each of `robots`, by its name with its tags: as many as there are robots."""
    family = GaugeMetricFamily(_NAME, FAMILIES[_NAME].about)
    for robot, tags in robots.items():
        labels = {tag_label(tag): value for tag, value in tags.items()}
        family.add_sample(_NAME, {"robot": robot, **labels}, 1)
    if family.samples:
        yield family

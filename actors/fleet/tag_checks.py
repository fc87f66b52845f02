"""What can be wrong with a robot's tags: each has a label of its own in metrics."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Fault
from ..runtime.tag_labels import tag_label
from .robot_entry import RobotEntry


def tag_faults(robot: RobotEntry, path: str) -> Iterator[Fault]:
    """What is wrong with the tags of the robot at `path`."""
    by_label: dict[str, str] = {}
    for tag in robot.tags:
        first = by_label.setdefault(tag_label(tag), tag)
        if first != tag:
            found = f"{tag!r} and {first!r} are the same label in metrics, {tag_label(tag)}"
            yield Fault(f"{path}.tags.{tag}", found, remedy="rename or remove one of them")

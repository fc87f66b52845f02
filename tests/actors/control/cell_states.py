"""What the tests of a control loop wait for."""

from __future__ import annotations

from itertools import pairwise

from holdfast.tests.actors.control.conftest import Cell
from holdfast.tests.waiting import wait_until


def in_order(values: list[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


def is_streaming(cell: Cell) -> bool:
    return cell.status().get("state") == "STREAMING"


def unhurried(cell: Cell) -> Cell:
    """With a plan of two seconds, which is filled up at once: it outlasts pauses of the machine."""
    cell.config["fps"] = 20.0
    cell.config["plan_settings"]["buffer_time_s"] = 1.8
    return cell


def running(cell: Cell) -> Cell:
    cell.server.start()
    cell.start()
    wait_until(lambda: len(cell.played()) > 20, "the robot to move")
    return cell

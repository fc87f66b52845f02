"""What a stop or a release made of the fleet `cell` of the tests."""

from __future__ import annotations

from pathlib import Path

from holdfast.actors.driver import latch
from holdfast.actors.driver.stop_outcome import StopOutcome
from holdfast.actors.runtime.robots_file import KnownRobots
from holdfast.actors.supervision.emergency_stops import EmergencyStops


def latched(cell: KnownRobots, name: str) -> latch.EmergencyStop | None:
    """By its own latch, or by a stop of the site."""
    return EmergencyStops(Path(cell.state_dir)).of([name]).get(name)


def by_name(outcomes: list[StopOutcome]) -> dict[str, StopOutcome]:
    return {outcome.robot: outcome for outcome in outcomes}

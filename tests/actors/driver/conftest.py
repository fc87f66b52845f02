"""A fleet without processes, and stores that do not wait before they try again."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.actors.runtime import site_stop_store
from holdfast.actors.runtime.robots_file import KnownRobot, KnownRobots


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What did not count is tried again at every look."""
    monkeypatch.setattr(site_stop_store, "AGAIN_NS", 0)


@pytest.fixture
def cell(tmp_path: Path) -> KnownRobots:
    """A fleet of two robots of this machine and one of another; no process of it runs."""
    return KnownRobots(
        fleet="cell",
        state_dir=str(tmp_path / "state"),
        robots=(
            KnownRobot("left", str(tmp_path / "left.driver")),
            KnownRobot("right", str(tmp_path / "right.driver")),
            KnownRobot("far", host="gpu1"),
        ),
    )

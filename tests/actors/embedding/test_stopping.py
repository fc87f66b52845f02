"""`holdfast.emergency_stop` and `release_emergency_stop`: which names of robots they take."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast.actors.runtime import robots_file
from holdfast.actors.runtime.robots_file import KnownRobots
from holdfast.tests.actors.driver.kept_stops import store_of


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a fleet without robots of its own that runs, as far as its files say."""
    monkeypatch.setenv("HOLDFAST_RUNTIME", str(tmp_path / "run"))
    (tmp_path / "run" / "cell").mkdir(parents=True, mode=0o700)
    known = KnownRobots(fleet="cell", state_dir=str(tmp_path / "state"))
    robots_file.write(known, tmp_path / "run" / "cell")
    return Path(known.state_dir)


@pytest.mark.parametrize("robot", ["openpi/1", "groot/12", "..", "an arm", "ö" * 128])
def test_every_name_that_a_robot_of_the_site_may_have_is_stopped_and_released(
    state_dir: Path, robot: str
) -> None:
    """As `actorctl estop` does: the sessions of clients' ports have a slash in their names."""
    (outcome,) = holdfast.emergency_stop(robot, fleet="cell", why="smoke")
    (stop,) = store_of(state_dir).stops.in_force()
    assert stop.robots == (robot,) and outcome.robot == robot
    assert "a stop for it is in force" in outcome.message
    holdfast.release_emergency_stop(robot, fleet="cell")
    assert store_of(state_dir).stops.in_force() == []


@pytest.mark.parametrize("robot", ["", "r" * 129, "\ud800"])
def test_a_name_that_no_robot_can_have_is_refused_before_anything_is_stopped(
    state_dir: Path, robot: str
) -> None:
    """The error begins with the argument's name."""
    for act in (holdfast.emergency_stop, holdfast.release_emergency_stop):
        with pytest.raises(ValueError, match=r"^robot: "):
            act("openpi/1", robot, fleet="cell")
    assert store_of(state_dir).stops.in_force() == []

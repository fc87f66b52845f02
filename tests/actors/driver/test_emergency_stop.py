"""The emergency stop as its callers see it: latches first, then drivers, whatever their state."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.driver import asked_robots, emergency_stop, latch
from holdfast.actors.driver.stop_outcome import StopOutcome
from holdfast.actors.runtime import robots_file
from holdfast.actors.runtime.robots_file import KnownRobots
from holdfast.errors import FleetNotFoundError
from holdfast.tests.actors.driver.fake_driver import FakeDriver
from holdfast.tests.actors.driver.stopped_cell import by_name, latched
from holdfast.transport.keys import Role
from holdfast.transport.keys import new as new_key

CONFIRMED = {"latched": True, "confirmed": True, "by": "anna", "error": ""}
LIFTED = {"latched": False, "error": ""}


def driver(cell: KnownRobots, name: str, answer: dict[str, Any] | None) -> FakeDriver:
    path = next(robot.wake for robot in cell.robots if robot.name == name)
    return FakeDriver(Path(path), lambda _: answer)


def test_a_stop_with_no_process_alive_is_latched_and_says_so(cell: KnownRobots) -> None:
    """The driver finds the latch when it starts; a robot of another host is not reached."""
    outcomes = by_name(emergency_stop.stop([cell], by="anna", why="smoke", patience_s=0.1))
    for name in ("left", "right"):
        assert outcomes[name].latched and not outcomes[name].confirmed
        assert "not running: the latch holds when it starts" in outcomes[name].message
        stop = latched(cell, name)
        assert stop is not None and (stop.by, stop.why) == ("anna", "smoke")
        assert abs(stop.at_s - time.time()) < 60
    assert not outcomes["far"].latched
    assert "not reached: host gpu1" in outcomes["far"].message


def test_a_stop_returns_as_soon_as_every_device_has_confirmed(cell: KnownRobots) -> None:
    """It does not wait for the rest of its patience; the latch was engaged before the question."""
    seen: list[object] = []
    path = Path(cell.robots[0].wake)

    def answer(_: dict[str, Any]) -> dict[str, Any]:
        seen.append(latched(cell, "left"))
        return CONFIRMED

    with FakeDriver(path, answer) as left:
        began_s = time.monotonic()
        outcomes = emergency_stop.stop([cell], ["left"], by="anna", patience_s=100)
        assert time.monotonic() - began_s < 60
    assert outcomes == [
        StopOutcome(robot="left", fleet="cell", latched=True, confirmed=True, by="anna")
    ]
    assert outcomes[0].done and seen[0] is not None
    assert left.asked[0]["do"] == "estop" and left.asked[0]["by"] == "anna"
    assert latched(cell, "right") is None, "it was not named"


def test_a_device_that_does_not_confirm_is_asked_again_and_its_error_is_told(
    cell: KnownRobots,
) -> None:
    """The driver answers that it holds, but the bus is silent."""
    unconfirmed = {"latched": True, "confirmed": False, "by": "anna", "error": "the bus is silent"}
    with driver(cell, "left", unconfirmed) as left:
        outcome = emergency_stop.stop([cell], ["left"], patience_s=2.0)[0]
    assert outcome.latched and not outcome.confirmed and not outcome.done
    assert "the bus is silent" in outcome.message
    assert len(left.asked) > 1


def test_a_device_that_confirms_late_is_waited_for(cell: KnownRobots) -> None:
    """The third answer says so."""
    answers = iter([{**CONFIRMED, "confirmed": False}] * 2)
    with FakeDriver(Path(cell.robots[0].wake), lambda _: next(answers, CONFIRMED)):
        assert emergency_stop.stop([cell], ["left"], patience_s=60)[0].confirmed


def test_a_driver_that_starts_meanwhile_is_reached(cell: KnownRobots) -> None:
    """A driver that is being restarted is not taken for one that is gone."""
    started: list[FakeDriver] = []

    def start() -> None:
        started.append(driver(cell, "left", CONFIRMED).__enter__())

    timer = threading.Timer(0.3, start)
    timer.start()
    try:
        assert emergency_stop.stop([cell], ["left"], patience_s=60)[0].confirmed
    finally:
        timer.join()
        started[0].__exit__()


def test_a_driver_that_does_not_answer_delays_no_other(cell: KnownRobots) -> None:
    """Both are asked at once; the outcome says which one is silent."""
    with driver(cell, "left", None), driver(cell, "right", CONFIRMED):
        outcomes = by_name(emergency_stop.stop([cell], ["left", "right"], patience_s=3.0))
    assert outcomes["right"].done
    assert outcomes["left"].latched and "did not answer within 3 s" in outcomes["left"].message


def test_a_driver_that_stands_still_is_latched_although_its_queue_is_full(
    cell: KnownRobots,
) -> None:
    """Control's wake-ups have filled it; nothing blocks."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as frozen,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as waker,
    ):
        frozen.bind(cell.robots[0].wake)
        with pytest.raises(BlockingIOError):
            while True:
                waker.sendto(b"", cell.robots[0].wake)
        outcome = emergency_stop.stop([cell], ["left"], patience_s=0.3)[0]
    assert outcome.latched and "did not answer" in outcome.message
    assert latched(cell, "left") is not None


def test_a_name_that_is_not_there_stops_the_others_all_the_same(cell: KnownRobots) -> None:
    """A misspelt name is suggested, and is not done."""
    with driver(cell, "left", CONFIRMED):
        outcomes = by_name(emergency_stop.stop([cell], ["left", "rihgt"], patience_s=60))
    assert outcomes["left"].done
    said = outcomes["rihgt"].message
    assert "no robot 'rihgt' is known now; did you mean 'right'?" in said
    assert "a stop for it is in force, until `actorctl estop --release rihgt`" in said
    assert not outcomes["rihgt"].done


def test_the_first_stop_is_the_one_that_is_explained(cell: KnownRobots) -> None:
    """A second one changes neither who nor when."""
    emergency_stop.stop([cell], ["left"], by="anna", patience_s=0.0)
    first = latched(cell, "left")
    emergency_stop.stop([cell], ["left"], by="ben", patience_s=0.0)
    assert latched(cell, "left") == first


def test_a_latch_that_cannot_be_written_stops_the_driver_that_runs(
    cell: KnownRobots, tmp_path: Path
) -> None:
    """The driver is told who and why, and the outcome says that no file holds it."""
    (tmp_path / "state").write_text("a file where a directory should be")
    with driver(cell, "left", CONFIRMED) as left:
        outcome = emergency_stop.stop([cell], ["left"], by="anna", why="smoke", patience_s=60)[0]
    assert outcome.latched and outcome.confirmed and not outcome.done
    assert "cannot be written" in outcome.message and "its driver holds it" in outcome.message
    asked = {"do": "estop", "by": "anna", "why": "smoke", "unwritten": True}
    assert left.asked[0] == asked


def test_a_latch_that_cannot_be_written_without_a_driver_is_no_stop(
    cell: KnownRobots, tmp_path: Path
) -> None:
    """It is said that nothing holds the robot."""
    (tmp_path / "state").write_text("a file where a directory should be")
    outcome = emergency_stop.stop([cell], ["left"], patience_s=0.0)[0]
    assert not outcome.latched and "nothing holds it" in outcome.message


def test_a_release_is_carried_out_by_the_driver(cell: KnownRobots) -> None:
    """A release does not touch the latch of a driver that runs."""
    emergency_stop.stop([cell], ["left"], patience_s=0.0)
    with driver(cell, "left", LIFTED) as left:
        outcome = emergency_stop.release([cell], ["left"], patience_s=60)[0]
    assert outcome.done and not outcome.latched
    mark = list(latch.mark(Path(cell.state_dir), "left"))
    assert left.asked == [{"do": "release", "key": None, "begun": mark}]
    assert latched(cell, "left") is not None, "the fake driver did not remove it"


def test_a_release_that_the_driver_refuses_leaves_the_stop(cell: KnownRobots) -> None:
    """The answer has the driver's own sentence."""
    refusal = {"latched": True, "error": "an operator's secret key only"}
    with driver(cell, "left", refusal):
        outcome = emergency_stop.release([cell], ["left"], patience_s=60)[0]
    assert outcome.latched and not outcome.done
    assert outcome.message == "an operator's secret key only"


def test_a_release_without_a_driver_removes_the_latch(cell: KnownRobots) -> None:
    """No process is left that could do it."""
    emergency_stop.stop([cell], ["left"], patience_s=0.0)
    outcome = emergency_stop.release([cell], ["left"], patience_s=0.1)[0]
    assert outcome.done and latched(cell, "left") is None


@pytest.mark.parametrize("stopped_before", [False, True])
def test_a_stop_that_is_given_while_a_robot_without_a_driver_is_released_stays(
    cell: KnownRobots, monkeypatch: pytest.MonkeyPatch, stopped_before: bool
) -> None:
    """And the release says that it holds the robot."""
    if stopped_before:
        emergency_stop.stop([cell], ["left"], patience_s=0.0)
    ask = asked_robots.ask

    def pressed(*given: Any) -> None:
        ask(*given)
        monkeypatch.setattr(emergency_stop, "ask", ask)
        emergency_stop.stop([cell], ["left"], by="carla", patience_s=0.0)

    monkeypatch.setattr(emergency_stop, "ask", pressed)
    (outcome,) = emergency_stop.release([cell], ["left"], patience_s=0.0)
    assert latched(cell, "left") is not None
    assert outcome.latched and "given meanwhile" in outcome.message


def test_a_release_of_a_driver_that_does_not_answer_changes_nothing(cell: KnownRobots) -> None:
    """The driver may go on at any time, so its latch stays."""
    emergency_stop.stop([cell], ["left"], patience_s=0.0)
    with driver(cell, "left", None):
        outcome = emergency_stop.release([cell], ["left"], patience_s=0.3)[0]
    assert outcome.latched and "did not answer" in outcome.message
    assert latched(cell, "left") is not None


def test_a_release_on_a_fleet_with_keys_needs_the_operator_also_without_a_driver(
    cell: KnownRobots, tmp_path: Path
) -> None:
    """A robot's key is not enough."""
    ring = tmp_path / "keys"
    operator = new_key("operator", Role.OPERATOR, ring)
    robot = new_key("left", Role.ROBOT, ring)
    keyed = KnownRobots(
        fleet="cell", state_dir=cell.state_dir, keyring=str(ring), robots=cell.robots
    )
    emergency_stop.stop([keyed], ["left"], patience_s=0.0)
    for secret in (None, "nonsense", robot.secret.decode()):
        outcome = emergency_stop.release([keyed], ["left"], secret=secret, patience_s=0.0)[0]
        assert outcome.latched and "operator's secret key" in outcome.message
    secret = operator.secret.decode()
    assert emergency_stop.release([keyed], ["left"], secret=secret, patience_s=0.0)[0].done
    assert latched(keyed, "left") is None


def test_the_robots_of_a_fleet_are_found_while_it_runs_and_after(
    cell: KnownRobots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that run come first; with a name only that fleet."""
    monkeypatch.setenv("HOLDFAST_RUNTIME", str(tmp_path / "run"))
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "kept"))
    with pytest.raises(FleetNotFoundError, match="no fleet has run"):
        robots_file.find()
    old = KnownRobots(fleet="old", state_dir="/x")
    for directory, known in (("kept/old", old), ("kept/cell", cell), ("run/cell", cell)):
        (tmp_path / directory).mkdir(parents=True)
        robots_file.write(known, tmp_path / directory)
    assert robots_file.find() == [cell]
    assert robots_file.find("old") == [old]
    with pytest.raises(FleetNotFoundError, match="'other'"):
        robots_file.find("other")
    (tmp_path / "run/cell" / robots_file.FILE).write_text("damaged")
    assert robots_file.find() == [cell, old]

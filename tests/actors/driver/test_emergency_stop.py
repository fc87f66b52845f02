"""The emergency stop as its callers see it: latches first, then drivers, whatever their state."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.driver import asked_robots, emergency_stop, latch
from holdfast.actors.driver.site_request import SiteRequest, lift_site, stop_site
from holdfast.actors.driver.stop_outcome import StopOutcome
from holdfast.actors.runtime import robots_file
from holdfast.actors.runtime.held_robots import HeldRobots
from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.robots_file import KnownRobot, KnownRobots
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.actors.runtime.site_stops import new_stop
from holdfast.actors.supervision.emergency_stops import EmergencyStops
from holdfast.errors import FleetNotFoundError
from holdfast.tests.actors.driver.fake_driver import FakeDriver
from holdfast.transport.keys import Role
from holdfast.transport.keys import new as new_key
from holdfast.transport.limits import DEFAULT
from holdfast.transport.stop_bodies import MAX_STOPS, HeldRobot

CONFIRMED = {"latched": True, "confirmed": True, "by": "anna", "error": ""}
LIFTED = {"latched": False, "error": ""}


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


def driver(cell: KnownRobots, name: str, answer: dict[str, Any] | None) -> FakeDriver:
    path = next(robot.wake for robot in cell.robots if robot.name == name)
    return FakeDriver(Path(path), lambda _: answer)


def latched(cell: KnownRobots, name: str) -> latch.EmergencyStop | None:
    """By its own latch, or by a stop of the site."""
    return EmergencyStops(Path(cell.state_dir)).of([name]).get(name)


def by_name(outcomes: list[StopOutcome]) -> dict[str, StopOutcome]:
    return {outcome.robot: outcome for outcome in outcomes}


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
    assert left.asked[0] == {"do": "estop", "by": "anna", "why": "smoke"}


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
    """With the driver's own sentence."""
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
    """It may run on at any time."""
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


def test_a_name_that_is_too_long_for_a_robot_stops_no_other_one(cell: KnownRobots) -> None:
    """The stop of those that are named beside it can be read, and holds them alone."""
    long = "r" * (DEFAULT.max_name_chars + 1)
    outcomes = by_name(emergency_stop.stop([cell], ["far", long], patience_s=0.0))
    said = outcomes[long].message
    assert "no robot" in said and "in force" not in said
    assert latched(cell, "far") is not None
    assert latched(cell, "left") is None


def test_a_user_whose_name_is_not_utf_8_stops_and_releases_the_site(
    cell: KnownRobots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be encoded is replaced, in the stop and in its lift."""
    monkeypatch.setattr(socket, "gethostname", lambda: "caf\udce9")
    stopped = emergency_stop.stop([cell], patience_s=0.0)
    assert {outcome.by.partition("@")[2] for outcome in stopped if outcome.by} == {"caf?"}
    named = emergency_stop.stop([cell], ["far", "f\udce9"], patience_s=0.0)
    assert "no robot 'f?'" in by_name(named)["f?"].message
    emergency_stop.release([cell], patience_s=0.0)
    store = SiteStopStore(Path(cell.state_dir), None)
    store.look()
    assert {lift.by.partition("@")[2] for lift in store.stops.lifts} == {"caf?"}
    assert latched(cell, "left") is None


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


def test_a_stop_that_is_given_while_another_host_lifts_an_earlier_one_stays(
    cell: KnownRobots, tmp_path: Path
) -> None:
    """Each stop is one of its own: the lift that arrives afterwards is of the earlier one only."""
    emergency_stop.stop([cell], by="anna", patience_s=0.0)
    here = SiteStopStore(Path(cell.state_dir), None)
    here.look()
    there = SiteStopStore(tmp_path / "elsewhere", None)
    there.add(here.stops.in_force(), [])
    lifts = lifts_of(there.stops.lifting([]), "ben", None)
    emergency_stop.stop([cell], by="carla", patience_s=0.0)
    here.add([], lifts)
    assert [stop.by for stop in here.holding("left")] == ["carla"]
    held = latched(cell, "far")
    assert held is not None and held.by == "carla"


def test_a_request_without_a_stop_in_force_is_known_to_no_host(cell: KnownRobots) -> None:
    """Nothing was given: no robot's row confirms it."""
    row = HeldRobot(robot="far", confirmed=True, latched=True)
    assert not SiteRequest(cell, cell.robots).knows(row)


def test_a_script_s_robot_is_stopped_by_name_also_where_no_supervisor_tells_of_it(
    cell: KnownRobots,
) -> None:
    """The stop is written first, and then it is asked who has the name; a release lifts it."""
    engaged: list[bool] = []

    def hangs(_: KnownRobots) -> list[KnownRobot]:
        engaged.append(latched(cell, "bench") is not None and latched(cell, "left") is not None)
        return []

    outcomes = by_name(emergency_stop.stop([cell], ["left", "bench"], patience_s=0.0, guests=hangs))
    assert engaged == [True] and latched(cell, "right") is None
    assert latch.engaged(Path(cell.state_dir), "left") is not None
    assert "not running" in outcomes["left"].message
    assert "a stop for it is in force" in outcomes["bench"].message
    (outcome,) = emergency_stop.release([cell], ["bench"], patience_s=0.0, guests=hangs)
    assert outcome.done and outcome.robot == "bench" and latched(cell, "bench") is None
    (outcome,) = emergency_stop.release([cell], ["bench"], patience_s=0.0, guests=hangs)
    assert "no robot 'bench' is known now; expected one of" in outcome.message


def test_a_script_s_robot_that_a_supervisor_tells_of_is_asked_for(cell: KnownRobots) -> None:
    """Others that it tells of were not meant."""

    def guests(_: KnownRobots) -> list[KnownRobot]:
        return [KnownRobot("bench", host="script"), KnownRobot("other", host="script")]

    (outcome,) = emergency_stop.stop([cell], ["bench"], patience_s=0.0, guests=guests)
    assert outcome.robot == "bench" and "its script has not answered" in outcome.message


def test_a_stop_of_this_machine_alone_writes_none_for_a_name_that_is_not_there(
    cell: KnownRobots,
) -> None:
    """Nor is one claimed."""
    (outcome,) = emergency_stop.stop([cell], ["bench"], here=True, patience_s=0.0)
    assert "no robot 'bench'" in outcome.message and "in force" not in outcome.message
    assert latched(cell, "bench") is None


def test_a_misspelt_name_is_not_released_by_way_of_a_stop_of_the_whole_site(
    cell: KnownRobots,
) -> None:
    """It is suggested what was meant."""
    emergency_stop.stop([cell], patience_s=0.0)
    (outcome,) = emergency_stop.release([cell], ["rihgt"], patience_s=0.0)
    assert "did you mean 'right'?" in outcome.message and not outcome.done
    assert latched(cell, "right") is not None


def answered(cell: KnownRobots, **said: Any) -> None:
    """What the host of the robot `far` says, as a network actor of this host writes it."""
    store = SiteStopStore(Path(cell.state_dir), None)
    store.look()
    stops = tuple(stop.id for stop in store.stops.holding("far"))
    heard = HeldRobots(Path(cell.state_dir), "left@network")
    heard.heard([HeldRobot(robot="far", stops=stops, seen=store.stops.digest, **said)])
    heard.write()


def test_a_robot_that_is_held_by_a_stand_in_of_the_stop_has_confirmed_it(
    cell: KnownRobots,
) -> None:
    """Others have stopped it too meanwhile, more often than there is room for."""
    (far,) = (robot for robot in cell.robots if robot.host)
    request = stop_site(cell, [far], ["far"], "anna", "")
    store = SiteStopStore(Path(cell.state_dir), None)
    store.look()
    others = [new_stop(["far"], "ben", "", -float(k)) for k in range(MAX_STOPS)]
    store.add(others, [])
    store.settle()
    answered(cell, latched=True, confirmed=True)
    row = request.answers(time.monotonic())["far"]
    assert request.message(far, row) == ""


def test_a_stop_that_is_lifted_while_it_is_waited_for_says_so(cell: KnownRobots) -> None:
    """At once."""
    (far,) = (robot for robot in cell.robots if robot.host)
    request = stop_site(cell, [far], [], "anna", "")
    emergency_stop.release([cell], patience_s=0.0)
    answered(cell)
    began_s = time.monotonic()
    row = request.answers(began_s + 100)["far"]
    assert time.monotonic() - began_s < 60
    assert "lifted meanwhile" in request.message(far, row)


def test_a_release_beside_which_another_stop_is_given_says_what_holds_the_robot(
    cell: KnownRobots,
) -> None:
    """Not that its host has not answered, or stopped it by itself."""
    (far,) = (robot for robot in cell.robots if robot.host)
    stop_site(cell, [far], [], "anna", "")
    request = lift_site(cell, [far], [], "ben", None)
    stop_site(cell, [far], [], "carla", "")
    answered(cell, latched=True)
    row = request.answers(time.monotonic())["far"]
    assert "given meanwhile" in request.message(far, row)

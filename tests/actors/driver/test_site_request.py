"""Stops and releases of robots that other hosts or scripts drive, and of names not known here."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.driver import emergency_stop, latch
from holdfast.actors.driver.site_request import SiteRequest, lift_site, stop_site
from holdfast.actors.runtime.held_robots import HeldRobots
from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.robots_file import KnownRobot, KnownRobots
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.actors.runtime.site_stops import new_stop
from holdfast.tests.actors.driver.kept_stops import store_of
from holdfast.tests.actors.driver.stopped_cell import by_name, latched
from holdfast.transport.limits import DEFAULT
from holdfast.transport.stop_bodies import MAX_STOPS, HeldRobot


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
    store = store_of(Path(cell.state_dir))
    assert {lift.by.partition("@")[2] for lift in store.stops.lifts} == {"caf?"}
    assert latched(cell, "left") is None


def test_a_stop_that_is_given_while_another_host_lifts_an_earlier_one_stays(
    cell: KnownRobots, tmp_path: Path
) -> None:
    """Each stop is one of its own: the lift that arrives afterwards is of the earlier one only."""
    emergency_stop.stop([cell], by="anna", patience_s=0.0)
    here = store_of(Path(cell.state_dir))
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


def test_a_stop_says_of_a_port_s_client_that_it_does_not_reach_its_robot(
    cell: KnownRobots,
) -> None:
    """Without waiting for an answer, which never comes; a release is whole when it is written."""

    def clients(_: KnownRobots) -> list[KnownRobot]:
        return [KnownRobot("openpi/1", host="client", is_client=True)]

    (outcome,) = emergency_stop.stop([cell], ["openpi/1"], patience_s=1e9, guests=clients)
    assert not outcome.done and not outcome.latched and not outcome.confirmed
    assert "no stop reaches it: its port gives it no chunks" in outcome.message
    assert latched(cell, "openpi/1") is not None and latched(cell, "left") is None
    (outcome,) = emergency_stop.release([cell], ["openpi/1"], patience_s=1e9, guests=clients)
    assert outcome.done and latched(cell, "openpi/1") is None


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
    """Nor does the command claim to have stopped it."""
    (outcome,) = emergency_stop.stop([cell], ["bench"], here=True, patience_s=0.0)
    assert "no robot 'bench'" in outcome.message and "in force" not in outcome.message
    assert latched(cell, "bench") is None


def test_a_misspelt_name_is_not_released_by_way_of_a_stop_of_the_whole_site(
    cell: KnownRobots,
) -> None:
    """The answer suggests the name that was meant."""
    emergency_stop.stop([cell], patience_s=0.0)
    (outcome,) = emergency_stop.release([cell], ["rihgt"], patience_s=0.0)
    assert "did you mean 'right'?" in outcome.message and not outcome.done
    assert latched(cell, "right") is not None


def answered(cell: KnownRobots, **said: Any) -> None:
    """What the host of the robot `far` says, as a network actor of this host writes it."""
    store = store_of(Path(cell.state_dir))
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
    store = store_of(Path(cell.state_dir))
    others = [new_stop(["far"], "ben", "", -float(k)) for k in range(MAX_STOPS)]
    store.add(others, [])
    store.settle()
    answered(cell, latched=True, confirmed=True)
    row = request.answers(time.monotonic())["far"]
    assert request.message(far, row) == ""


def test_a_stop_that_is_lifted_while_it_is_waited_for_says_so(cell: KnownRobots) -> None:
    """The wait ends at once."""
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

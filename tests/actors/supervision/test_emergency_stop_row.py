"""An emergency stop in the status: by its latch, and by what the driver says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.driver.latch import EmergencyStop
from holdfast.actors.runtime.held_robots import HeldRobots
from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.site_stop_files import FOLDER
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.actors.runtime.site_stops import new_stop
from holdfast.actors.supervision import health, report
from holdfast.actors.supervision.emergency_stops import EmergencyStops
from holdfast.actors.supervision.notes import Weight, notes
from holdfast.actors.supervision.supervised import ActorRecord, ActorState
from holdfast.tests.actors.supervision.actor_facts import facts_of
from holdfast.transport.stop_bodies import HeldRobot

LATCHED = EmergencyStop("anna", "a hand in the cell", 1_700_000_000.0)
CONFIRMED = {"by": "anna", "why": "a hand in the cell", "at_s": LATCHED.at_s, "confirmed": True}


def status(
    latched: EmergencyStop | None, said: object, driver: ActorState = ActorState.READY
) -> dict[str, Any]:
    """The status of a robot that streams, as far as its control says."""
    reports = {
        "control": {"state": "STREAMING", "refusing_s": 3.0, "refusing": "a joint is too far"},
        "driver": {"estop": said},
    }
    facts = facts_of(reports)
    actors = {
        "r1/control": ActorRecord(ActorState.READY),
        "r1/driver": ActorRecord(driver),
    }
    stops = {"r1": latched} if latched else {}
    return report.status("cell", 1.0, facts, actors, ["r1"], now_s=1.0, stops=stops)


def test_a_robot_without_a_stop_has_its_own_state() -> None:
    """Its row has no stop."""
    body = status(None, None)
    assert (body["robots"][0]["state"], body["robots"][0]["estop"]) == ("STREAMING", None)


def test_a_stopped_robot_says_who_why_since_when_and_that_its_device_holds() -> None:
    """It is not healthy, and its refused commands are no trouble any more."""
    body = status(LATCHED, CONFIRMED)
    (row,) = body["robots"]
    assert row["state"] == "STOPPED" and row["estop"] == {**CONFIRMED, "error": ""}
    for words in ("stopped by anna at 2023-11-1", "a hand in the cell", "the device holds"):
        assert words in row["reason"]
    assert "actorctl estop --release r1" in row["reason"]
    assert not body["healthy"] and row["refusing_s"] == 0.0
    assert health.unhealthy(body) == [f"robot r1 is STOPPED: {row['reason']}"]
    (note,) = notes(body)
    assert (note.weight, note.name) == (Weight.WRONG, "r1")
    assert "actorctl start" not in note.text


@pytest.mark.parametrize(
    ("said", "driver", "why"),
    [
        (None, ActorState.READY, "its driver has not answered yet"),
        (CONFIRMED, ActorState.BACKOFF, "r1/driver does not run"),
        (
            {**CONFIRMED, "confirmed": False, "error": "the bus is silent"},
            ActorState.READY,
            "the bus is silent",
        ),
    ],
)
def test_a_stop_that_the_device_has_not_confirmed_says_why(
    said: object, driver: ActorState, why: str
) -> None:
    """What a driver that is dead now said does not count."""
    (row,) = status(LATCHED, said, driver)["robots"]
    assert row["state"] == "STOPPED" and not row["estop"]["confirmed"]
    assert f"THE DEVICE HAS NOT CONFIRMED IT ({why})" in row["reason"]


def test_a_stop_that_only_the_driver_holds_is_shown() -> None:
    """The latch could not be written."""
    (row,) = status(None, {**CONFIRMED, "error": "no room on the disk"})["robots"]
    assert row["state"] == "STOPPED" and "the device holds, but no room" in row["reason"]


def test_a_stop_on_a_board_in_the_wrong_shape_is_left_out() -> None:
    """The latch counts alone."""
    (row,) = status(LATCHED, "nonsense")["robots"]
    assert row["state"] == "STOPPED" and row["estop"]["by"] == "anna"


def whole(state: Path, *sessions: dict[str, Any]) -> dict[str, Any]:
    """The status of a host whose broker has these sessions."""
    facts = facts_of({"control": {"state": "STREAMING"}, "broker": {"sessions": list(sessions)}})
    actors = dict.fromkeys(("r1/control", "r1/broker"), ActorRecord(ActorState.READY))
    found = EmergencyStops(state).elsewhere
    return report.status("hub", 1.0, facts, actors, ["r1"], now_s=1.0, stops_elsewhere=found)


def elsewhere(state: Path, heard: list[HeldRobot]) -> dict[str, Any]:
    """The row of a robot of another host, which the broker of this one has."""
    held = HeldRobots(state, "broker")
    held.heard(heard)
    held.write()
    body = whole(state, {"robot": "r2", "state": "open", "host": "cell", "kind": "fleet"})
    (row,) = body["site"]["robots"]
    return dict(row)


def test_the_robot_of_a_port_s_client_is_not_shown_as_stopped(tmp_path: Path) -> None:
    """No stop reaches it: its row has what its port says, and where that is."""
    SiteStopStore(tmp_path, None).add([new_stop([], "anna@hub", "smoke", 1.0)], [])
    vitals = {"state": "REFUSED", "reason": "no chunks for openpi/1: smoke"}
    client = {"robot": "openpi/1", "state": "open", "host": "cell", "kind": "client"}
    (row,) = whole(tmp_path, {**client, "vitals": vitals})["site"]["robots"]
    assert (row["state"], row["reason"]) == ("REFUSED", vitals["reason"])
    assert row["estop"] is None and not row["stoppable"]
    assert row["where"] == "client at cell"


def test_a_robot_that_a_stop_names_and_nothing_tells_of_is_away_until_its_release(
    tmp_path: Path,
) -> None:
    """The fleet's own have rows of their own; that of a client is listed too, to be released."""
    client = {"robot": "groot/1", "state": "open", "host": "cell", "kind": "client"}
    script = {"robot": "bench", "state": "open", "host": "cell", "kind": "script"}
    store = SiteStopStore(tmp_path, None)
    store.add([new_stop(["r1", "bench", "groot/1"], "anna@hub", "smoke", 1.0)], [])
    assert [row["name"] for row in whole(tmp_path, client, script)["site"]["away"]] == ["groot/1"]
    body = whole(tmp_path)
    assert [row["name"] for row in body["site"]["away"]] == ["bench", "groot/1"]
    (row, _) = body["site"]["away"]
    assert row["state"] == "STOPPED" and row["stoppable"]
    assert "stopped by anna@hub" in row["reason"] and "--release bench" in row["reason"]
    assert (Weight.WRONG, "bench") in {(note.weight, note.name) for note in notes(body)}
    store.add([], lifts_of(store.stops.lifting(["bench", "groot/1"]), "ben", None))
    assert whole(tmp_path)["site"]["away"] == []


def test_a_stop_of_the_whole_site_has_a_row_also_where_no_robot_is_known(tmp_path: Path) -> None:
    """Until all is released: it holds each robot that comes, also after all known are released."""
    store = SiteStopStore(tmp_path, None)
    store.add([new_stop(["bench"], "anna@hub", "its own", 1.0)], [])
    assert whole(tmp_path)["site"]["whole"] == []
    store.add([new_stop([], "anna@hub", "smoke", 2.0)], [])
    store.add([], lifts_of(store.stops.lifting(["r1", "bench"]), "ben", None))
    body = whole(tmp_path)
    (row,) = body["site"]["whole"]
    assert body["site"]["away"] == [] and row["state"] == "STOPPED"
    assert row["estop"] == {"by": "anna@hub", "why": "smoke", "at_s": 2.0}
    for words in ("stopped by anna@hub at 1970-01-0", ": smoke; ", "--release --all"):
        assert words in row["reason"]
    (note,) = (each for each in notes(body) if each.name == "the whole site")
    assert note.weight is Weight.WRONG and note.text == f"STOPPED: {row['reason']}"
    store.add([], lifts_of(store.stops.lifting([]), "ben", None))
    assert whole(tmp_path)["site"]["whole"] == []


def test_stops_that_cannot_be_read_hold_the_whole_site_and_are_shown(tmp_path: Path) -> None:
    """The row says which file that is."""
    store = SiteStopStore(tmp_path, None)
    store.add([new_stop(["bench"], "anna@hub", "smoke", 1.0)], [])
    (file,) = (each for each in (tmp_path / FOLDER).iterdir() if each.is_file())
    file.write_bytes(b"{")
    (row,) = whole(tmp_path)["site"]["whole"]
    assert "cannot be read" in row["reason"] and str(file) in row["reason"]


def test_a_robot_of_another_host_that_a_stop_of_the_site_holds_is_stopped_there_too(
    tmp_path: Path,
) -> None:
    """With who, why, and whether its device has confirmed it, once its host has said so."""
    assert elsewhere(tmp_path, [])["estop"] is None
    stop = new_stop(["r2"], "anna@hub", "smoke", 1.0)
    SiteStopStore(tmp_path, None).add([stop], [])
    row = elsewhere(tmp_path, [HeldRobot(robot="r2", stops=("0" * 16,), confirmed=True)])
    assert row["state"] == "STOPPED" and "stopped by anna@hub" in row["reason"]
    assert "smoke" in row["reason"] and "its host has not answered" in row["reason"]
    said = HeldRobot(robot="r2", stops=(stop.id,), message="the bus is silent")
    assert "the bus is silent" in elsewhere(tmp_path, [said])["reason"]
    row = elsewhere(tmp_path, [HeldRobot(robot="r2", stops=(stop.id,), confirmed=True)])
    assert row["estop"]["confirmed"] and "the device holds" in row["reason"]
    assert "actorctl estop --release r2" in row["reason"]
    SiteStopStore(tmp_path, None).add([stop], lifts_of([(stop.id, ("r2",))], "ben", None))
    assert elsewhere(tmp_path, [said])["estop"] is None

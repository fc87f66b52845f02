"""An emergency stop in the status: by its latch, and by what the driver says."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.driver.latch import EmergencyStop
from holdfast.actors.supervision import health, report
from holdfast.actors.supervision.notes import Weight, notes
from holdfast.actors.supervision.supervised import ActorRecord, ActorState
from holdfast.tests.actors.supervision.actor_facts import facts_of

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
    """And no stop in its row."""
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

"""A page's commands over real HTTP on loopback: what reaches the supervisor or a driver."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from holdfast.actors.driver import latch
from holdfast.actors.gateway import supervisor_client as _supervisor
from holdfast.actors.supervision.emergency_stops import EmergencyStops
from holdfast.actors.supervision.site import HeldBySite
from holdfast.tests.actors.driver.fake_driver import FakeDriver
from holdfast.tests.actors.gateway.running_gateway import Gateway, list_robot
from holdfast.tests.actors.gateway.scripted_supervisor import ScriptedSupervisor

SHAPE = (48, 64, 3)


@pytest.mark.parametrize(
    ("verb", "asked"),
    [
        ("episode-success", {"do": "episode_stop", "args": {"success": True}}),
        ("episode-failure", {"do": "episode_stop", "args": {"success": False}}),
        ("episode-rerecord", {"do": "episode_rerecord", "args": {}}),
        ("episode-save", {"do": "episode_save", "args": {}}),
    ],
)
def test_what_is_recorded_is_judged_and_dropped_with_the_token(
    gateway: Gateway, supervisor: ScriptedSupervisor, verb: str, asked: dict[str, Any]
) -> None:
    """Each button is one command for the robot's recorder."""
    assert gateway.post(f"/api/robots/r1/{verb}") == (200, {"result": None})
    assert supervisor.asked == [{"names": ["r1"], **asked}]


@pytest.mark.parametrize("verb", ["pause", "resume", "reset", "take-over"])
def test_a_robot_is_commanded_with_the_token(
    gateway: Gateway, supervisor: ScriptedSupervisor, verb: str
) -> None:
    """The verb and the robot's name reach the supervisor."""
    assert gateway.post(f"/api/robots/r1/{verb}") == (200, {"result": None})
    assert supervisor.asked == [{"do": verb, "names": ["r1"]}]


@pytest.mark.parametrize("task", ["", "bow to the left", "把红色的包裹放好" * 256])
def test_a_robot_is_given_another_task(
    gateway: Gateway, supervisor: ScriptedSupervisor, task: str
) -> None:
    """Of any length that a request of a robot may carry."""
    body = json.dumps({"task": task}, ensure_ascii=False).encode()
    assert gateway.post("/api/robots/r1/task", body=body) == (200, {"result": None})
    assert supervisor.asked == [{"do": "task", "names": ["r1"], "args": {"task": task}}]


@pytest.mark.parametrize("body", [None, b"bow", b"{}", b'{"task": 3}', b'{"task": "bow', b"\xff"])
def test_a_task_that_is_none_is_refused(
    gateway: Gateway, supervisor: ScriptedSupervisor, body: bytes | None
) -> None:
    """The answer says what was expected, and the supervisor is not asked."""
    status, answer = gateway.post("/api/robots/r1/task", body=body)
    assert status == 400
    assert '{"task": "a sentence"}' in answer["error"]
    assert supervisor.asked == []


def test_a_task_needs_the_token(gateway: Gateway, supervisor: ScriptedSupervisor) -> None:
    """Without it the command is refused, as every command is."""
    status, _, _ = gateway.request("POST", "/api/robots/r1/task", {}, b'{"task": "bow"}')
    assert status == 401
    assert supervisor.asked == []


def test_a_robot_is_stopped_and_released_without_the_supervisor(
    gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The latch and the driver are all that it takes: a supervisor that hangs delays nothing."""
    supervisor.silent = True
    state_dir = list_robot(gateway.rundir)

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        stopping = asked["do"] == "estop"
        return {"latched": stopping, "confirmed": stopping, "error": ""}

    with FakeDriver(gateway.rundir / "r1.driver", answer) as driver:
        said = "r1 stopped, confirmed by the device"
        assert gateway.post("/api/robots/r1/estop") == (200, {"result": said})
        stop = latch.engaged(state_dir, "r1")
        assert stop is not None and stop.by == "the dashboard"
        assert gateway.post("/api/robots/r1/release") == (200, {"result": "r1 released"})
        assert [asked["do"] for asked in driver.asked] == ["estop", "release"]


def test_a_robot_of_any_name_is_stopped_and_released_by_a_request_s_body(
    gateway: Gateway,
) -> None:
    """A name that means something in a path stops that robot, and no other one."""
    stops = EmergencyStops(list_robot(gateway.rundir))
    for name in ("..", "a/b", "r1/../.."):
        body = msgspec.json.encode({"robot": name})
        status, answer = gateway.post("/api/estop", body=body)
        assert status == 409 and f"`actorctl estop --release {name}`" in answer["error"]
        assert stops.elsewhere([name, "r1", "r9"]).robots.keys() == {name}
        assert gateway.post("/api/release", body=body) == (200, {"result": f"{name} released"})
        assert stops.elsewhere([name]) == HeldBySite({})


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"robot": 3}',
        b'{"robots": ["r1"]}',
        b"\xff",
        b'{"all": 1}',
        b'{"all":false}',
    ],
)
@pytest.mark.parametrize("path", ["/api/estop", "/api/release"])
def test_a_body_that_names_no_robot_stops_and_releases_nothing(
    gateway: Gateway, path: str, body: bytes
) -> None:
    """The answer says so, and what was expected."""
    stops = EmergencyStops(list_robot(gateway.rundir))
    status, answer = gateway.post(path, body=body)
    assert status == 400 and "nothing was done" in answer["error"]
    assert stops.of(["r1"]) == {} and stops.elsewhere(["r9"]) == HeldBySite({})


def test_every_stop_of_the_site_is_lifted_by_a_request_that_says_all(gateway: Gateway) -> None:
    """Those by name, those of robots of this host, and that of the whole site."""
    stops = EmergencyStops(list_robot(gateway.rundir))
    everything = msgspec.json.encode({"all": True})
    gateway.post("/api/estop", body=msgspec.json.encode({"robot": "r1"}))
    gateway.post("/api/estop")
    assert stops.elsewhere([]).whole is not None and "r1" in stops.of(["r1"])
    assert gateway.post("/api/estop", body=everything)[0] == 400
    gateway.post("/api/release", body=everything)
    assert stops.of(["r1"]) == {} and stops.elsewhere(["r9"]) == HeldBySite({})


def test_a_stop_of_all_robots_says_which_were_not_reached(gateway: Gateway) -> None:
    """One on another host, and one whose driver does not run; that one is latched all the same."""
    state_dir = list_robot(gateway.rundir)
    status, body = gateway.post("/api/estop")
    assert status == 409
    assert "r9: not reached: host gpu1" in body["error"]
    assert "r1: its driver is not running: the latch holds when it starts" in body["error"]
    assert "r1" in EmergencyStops(state_dir).of(["r1"])


def test_an_actor_with_a_slash_in_its_name_is_restarted(
    gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The slash may be plain or percent-encoded."""
    assert gateway.post("/api/actors/r1/network/restart")[0] == 200
    assert gateway.post("/api/actors/r1%2Fnetwork/restart")[0] == 200
    assert supervisor.asked == [{"do": "restart", "names": ["r1/network"]}] * 2


def test_a_command_that_the_supervisor_refuses_is_409_with_its_reason(gateway: Gateway) -> None:
    """The error is the supervisor's own sentence."""
    status, body = gateway.post("/api/actors/r1/netwrk/restart")
    assert status == 409
    assert "did you mean 'r1/network'?" in body["error"]


def test_a_command_to_a_supervisor_that_does_not_answer_is_503(
    gateway: Gateway, supervisor: ScriptedSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes after COMMAND_S at the latest."""
    monkeypatch.setattr(_supervisor, "COMMAND_S", 0.2)
    supervisor.silent = True
    status, body = gateway.post("/api/robots/r1/pause")
    assert status == 503
    assert "did not answer" in body["error"]


def test_an_unknown_command_is_refused(gateway: Gateway, supervisor: ScriptedSupervisor) -> None:
    """404 for an unknown path, 405 for an unknown method; the supervisor gets neither."""
    authorization = {"authorization": f"Bearer {gateway.token}"}
    for path in ("/api/actors/broker/kill", "/api/robots/r1/shutdown", "/api/status", "/"):
        status, _, body = gateway.request("POST", path, authorization)
        assert status == 404, path
        assert b"expected" in body
    assert gateway.request("DELETE", "/api/status", authorization)[0] == 405
    assert not supervisor.asked

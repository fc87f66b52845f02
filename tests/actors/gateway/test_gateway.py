"""The gateway over real HTTP on loopback, between a scripted supervisor and anonymous rings."""

from __future__ import annotations

import json
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.actors.gateway import routes as _site
from holdfast.actors.supervision.supervised import ActorState
from holdfast.tests.actors.gateway.running_gateway import Events, Gateway
from holdfast.tests.actors.gateway.scripted_supervisor import ScriptedSupervisor
from holdfast.tests.waiting import wait_until

SHAPE = (48, 64, 3)


def test_health_is_200_without_a_supervisor_and_readiness_is_not(
    make_gateway: Callable[..., Gateway],
) -> None:
    """The gateway's process answers; there is no report yet."""
    gateway = make_gateway()
    assert gateway.get("/healthz")[0] == 200
    status, _, body = gateway.get("/readyz")
    assert status == 503
    assert b"supervisor" in body
    assert gateway.get("/api/status")[0] == 503


def test_health_is_503_while_an_actor_hangs_or_does_not_run(
    gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """An actor counts as hung after half its hang timeout; a stopped one is no fault."""
    assert gateway.get("/healthz")[0] == 200
    supervisor.ages["r1/overhead"] = 2.7
    wait_until(lambda: gateway.get("/healthz")[0] == 503, "a hang")
    assert b"r1/overhead has made no progress for 2.7 s" in gateway.get("/healthz")[2]
    assert gateway.get("/readyz")[0] == 200, "it may still come back by itself"
    del supervisor.ages["r1/overhead"]
    wait_until(lambda: gateway.get("/healthz")[0] == 200, "it goes on")
    supervisor.last_exit["broker"] = "killed by SIGKILL"
    supervisor.put("broker", ActorState.STARTING, incarnation=2, reason="killed by SIGKILL")
    wait_until(lambda: gateway.get("/healthz")[0] == 503, "one that died is not back")
    supervisor.put("broker", ActorState.READY, incarnation=2)
    wait_until(lambda: gateway.get("/healthz")[0] == 200, "it is back")
    supervisor.put("r1/control", ActorState.STOPPED, reason="stopped by a person")
    wait_until(lambda: b"STOPPED" in gateway.get("/api/status")[2], "the stop")
    assert gateway.get("/healthz")[0] == 200


def test_health_is_503_while_the_supervisor_does_not_answer(
    gateway: Gateway, supervisor: ScriptedSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report older than STALE_S counts as none."""
    monkeypatch.setattr(_site, "STALE_S", 0.5)
    supervisor.silent = True
    wait_until(lambda: gateway.get("/healthz")[0] == 503, "it is missed")
    supervisor.silent = False
    wait_until(lambda: gateway.get("/healthz")[0] == 200, "it answers again")


def test_a_robot_that_refuses_every_command_makes_the_fleet_unready(
    gateway: Gateway, supervisor: ScriptedSupervisor, events: Events
) -> None:
    """A warning does not; both are events and notes of the page."""
    control = supervisor.reports["r1/control"]
    control.update(warnings=["fps 60 on a policy of 30"])
    found = events.until(lambda m: any("fps 60" in e["text"] for e in m["events"]))
    assert [e["level"] for e in found["events"]] == ["warning"]
    assert {"level": "warns", "who": "r1", "text": "warning: fps 60 on a policy of 30"} in found[
        "notes"
    ]
    assert gateway.get("/readyz")[0] == 200
    control.update(refusing_s=3.0, refusing="elbow: 92.1 is beyond its limit of 2.6")
    found = events.until(lambda m: any("refused" in e["text"] for e in m["events"]))
    assert found["notes"][0]["level"] == "wrong"
    assert b"elbow: 92.1" in gateway.get("/readyz")[2]
    control.update(refusing_s=0.0, refusing="")
    events.until(lambda m: any("no longer refuses" in e["text"] for e in m["events"]))


def test_robots_and_replicas_of_scripts_come_and_go_as_events(
    gateway: Gateway, supervisor: ScriptedSupervisor, events: Events
) -> None:
    """Robots of scripts do not affect this fleet's readiness."""
    broker = supervisor.reports["broker"]
    guests, broker["sessions"] = broker["sessions"], []
    found = events.until(lambda m: m["events"])["events"]
    assert [(e["who"], e["text"]) for e in found] == [("bench-arm", "left (script on lab)")]
    stalled = {**guests[0]["vitals"], "state": "STALLED", "reason": "no replica"}
    broker["sessions"] = [{**guests[0], "vitals": stalled}]
    found = events.until(lambda m: m["events"])["events"]
    assert [e["text"] for e in found] == ["joined from script on lab, STALLED"]
    assert gateway.get("/readyz")[0] == 200, "it is not this fleet's to mend"


def test_readiness_is_200_only_while_the_fleet_is_healthy(
    gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The body of a 503 names the actor and its state."""
    assert gateway.get("/readyz")[0] == 200
    supervisor.put("broker", ActorState.BACKOFF, reason="killed by SIGKILL")
    wait_until(lambda: gateway.get("/readyz")[0] == 503, "not ready")
    assert b"broker is BACKOFF" in gateway.get("/readyz")[2]
    supervisor.put("broker", ActorState.READY, incarnation=2)
    wait_until(lambda: gateway.get("/readyz")[0] == 200, "ready again")


def test_status_is_the_supervisors_report_with_its_age(
    gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The age is in the header x-age-seconds."""
    status, headers, body = gateway.get("/api/status")
    found = json.loads(body)
    expected = json.loads(json.dumps(supervisor.status()))  # with lists for tuples
    found.pop("time"), expected.pop("time")
    assert (status, found) == (200, expected)
    assert 0 <= float(headers["x-age-seconds"]) < 60


def test_a_page_gets_everything_at_first_and_then_only_what_is_new(
    events: Events, supervisor: ScriptedSupervisor
) -> None:
    """No sample and no event comes twice."""
    first = events.next()
    assert first["report"]["fleet"] == "cell"
    assert all("report" not in actor for actor in first["report"]["actors"])
    seen = [sample[0] for sample in first["timelines"]["r1"]]
    for _ in range(3):
        message = events.next()
        fresh = [sample[0] for sample in message["timelines"]["r1"]]
        assert fresh, "every report adds a sample"
        assert min(fresh) > max(seen), "no sample comes twice"
        seen += fresh
    supervisor.last_exit["broker"] = "killed by SIGKILL"
    supervisor.put("broker", ActorState.READY, incarnation=2)
    found = events.until(lambda m: m["events"])["events"]
    assert [(e["who"], e["level"]) for e in found] == [("broker", "warning")]
    assert "killed by SIGKILL" in found[0]["text"]
    assert all(not events.next()["events"] for _ in range(3)), "no event comes twice"


def test_a_page_learns_when_the_supervisor_stops_answering_and_answers_again(
    events: Events, supervisor: ScriptedSupervisor
) -> None:
    """The last report stays; the message has the trouble while there is one."""
    events.next()
    supervisor.silent = True
    message = events.until(lambda m: m["trouble"])
    assert "did not answer" in message["trouble"]
    assert message["report"] is not None, "what was known last stays on the page"
    supervisor.silent = False
    message = events.until(lambda m: not m["trouble"])
    assert [e["text"] for e in message["events"]] == ["answers again"]


def test_a_watched_fleet_is_polled_four_times_a_second(events: Events) -> None:
    """Four messages arrive in less time than four polls of an unwatched fleet take."""
    events.next()
    events.next()

    def quick() -> bool:
        begun_s = time.monotonic()
        for _ in range(4):
            events.next()
        return time.monotonic() - begun_s < 2.5

    wait_until(quick, "four polls in less than the four seconds of an unwatched one")


def test_a_restarted_gateway_keeps_its_address_and_token(
    rundir: Path, supervisor: ScriptedSupervisor, make_gateway: Callable[..., Gateway]
) -> None:
    """The file with the address is readable by its owner only."""
    first = make_gateway(port=None)
    url = first.url
    assert stat.S_IMODE((rundir / "gateway.url").stat().st_mode) == 0o600
    first.close()
    second = make_gateway(port=None, incarnation=2)
    assert second.url == url
    assert second.post("/api/robots/r1/pause", first.token)[0] == 200


def test_a_taken_default_port_is_evaded_and_a_configured_one_refused(
    make_gateway: Callable[..., Gateway], supervisor: ScriptedSupervisor
) -> None:
    """The refusal names the port and the key in fleet.yaml."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        refused = make_gateway(port=taken)
        assert refused.code == 3
        received = [*refused.received, *refused.supervisor.messages()[0]]
        reasons = [m.reason for m in received if hasattr(m, "reason")]
        assert str(taken) in reasons[0]
        assert "gateway.port" in reasons[0]
        (refused.rundir / "gateway.url").write_text(f"http://127.0.0.1:{taken}/#secret\n")
        evading = make_gateway(port=None)
        assert evading.code is None
        assert evading.port != taken
        assert evading.token == "secret", "a page that was open may still command"


def test_a_page_that_does_not_read_does_not_stop_the_gateway(gateway: Gateway) -> None:
    """The gateway's progress goes on while the page's connection is full."""
    with socket.create_connection(("127.0.0.1", gateway.port)) as lazy:
        token = f"Authorization: Bearer {gateway.token}"
        lazy.sendall(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\n{token}\r\n\r\n".encode())
        before = gateway.actor.board.turns
        wait_until(lambda: gateway.actor.board.turns >= before + 4, "progress of the gateway")

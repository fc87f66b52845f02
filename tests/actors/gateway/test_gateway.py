"""The gateway over real HTTP on loopback, between a scripted supervisor and anonymous rings."""

from __future__ import annotations

import json
import socket
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from holdfast.actors.gateway import routes as _site
from holdfast.actors.gateway import supervisor_client as _supervisor
from holdfast.actors.gateway.cameras import Thumbnails
from holdfast.actors.supervision.supervised import ActorState
from holdfast.transport.frames import FrameRing

SHAPE = (48, 64, 3)


def test_health_says_that_the_process_answers_even_without_a_supervisor(make_gateway: Any) -> None:
    gateway = make_gateway()
    assert gateway.get("/healthz")[0] == 200
    status, _, body = gateway.get("/readyz")
    assert status == 503
    assert b"supervisor" in body
    assert gateway.get("/api/status")[0] == 503


def test_health_is_503_while_an_actor_hangs_or_does_not_run_and_says_which(
    gateway: Any, supervisor: Any, wait: Any
) -> None:
    """Half of the hang timeout without progress is a hang: at the whole of it, it is killed."""
    assert gateway.get("/healthz")[0] == 200
    supervisor.ages["r1/overhead"] = 2.7
    wait(lambda: gateway.get("/healthz")[0] == 503, "a hang")
    assert b"r1/overhead has made no progress for 2.7 s" in gateway.get("/healthz")[2]
    assert gateway.get("/readyz")[0] == 200, "it may still come back by itself"
    del supervisor.ages["r1/overhead"]
    wait(lambda: gateway.get("/healthz")[0] == 200, "it goes on")
    supervisor.last_exit["broker"] = "killed by SIGKILL"
    supervisor.put("broker", ActorState.STARTING, incarnation=2, reason="killed by SIGKILL")
    wait(lambda: gateway.get("/healthz")[0] == 503, "one that died is not back")
    supervisor.put("broker", ActorState.READY, incarnation=2)
    wait(lambda: gateway.get("/healthz")[0] == 200, "it is back")
    supervisor.put("r1/control", ActorState.STOPPED, reason="stopped by a person")
    wait(lambda: b"STOPPED" in gateway.get("/api/status")[2], "the stop")
    assert gateway.get("/healthz")[0] == 200


def test_a_supervisor_that_has_fallen_silent_is_not_health(
    gateway: Any, supervisor: Any, monkeypatch: pytest.MonkeyPatch, wait: Any
) -> None:
    monkeypatch.setattr(_site, "STALE_S", 0.5)
    supervisor.silent = True
    wait(lambda: gateway.get("/healthz")[0] == 503, "it is missed")
    supervisor.silent = False
    wait(lambda: gateway.get("/healthz")[0] == 200, "it answers again")


def test_a_robot_that_refuses_every_command_makes_the_fleet_unready_and_a_warning_does_not(
    gateway: Any, supervisor: Any, events: Any, wait: Any
) -> None:
    """Both are told: as an event, and in the page's notes."""
    control = supervisor.said["r1/control"]
    control.update(warnings=["fps 60 on a policy of 30"])
    told = events.until(lambda m: any("fps 60" in e["text"] for e in m["events"]))
    assert [e["level"] for e in told["events"]] == ["warning"]
    assert {"level": "warns", "who": "r1", "text": "warning: fps 60 on a policy of 30"} in told[
        "notes"
    ]
    assert gateway.get("/readyz")[0] == 200
    control.update(refusing_s=3.0, refusing="elbow: 92.1 is beyond its limit of 2.6")
    told = events.until(lambda m: any("refused" in e["text"] for e in m["events"]))
    assert told["notes"][0]["level"] == "wrong"
    assert b"elbow: 92.1" in gateway.get("/readyz")[2]
    control.update(refusing_s=0.0, refusing="")
    events.until(lambda m: any("no longer refuses" in e["text"] for e in m["events"]))


def test_robots_and_replicas_of_scripts_come_and_go_as_events(
    gateway: Any, supervisor: Any, events: Any
) -> None:
    broker = supervisor.said["broker"]
    guests, broker["sessions"] = broker["sessions"], []
    told = events.until(lambda m: m["events"])["events"]
    assert [(e["who"], e["text"]) for e in told] == [("bench-arm", "left (script on lab)")]
    stalled = {**guests[0]["vitals"], "state": "STALLED", "reason": "no replica"}
    broker["sessions"] = [{**guests[0], "vitals": stalled}]
    told = events.until(lambda m: m["events"])["events"]
    assert [e["text"] for e in told] == ["joined from script on lab, STALLED"]
    assert gateway.get("/readyz")[0] == 200, "it is not this fleet's to mend"


def test_ready_is_200_only_while_the_fleet_is_healthy_and_says_who_is_not(
    gateway: Any, supervisor: Any, wait: Any
) -> None:
    assert gateway.get("/readyz")[0] == 200
    supervisor.put("broker", ActorState.BACKOFF, reason="killed by SIGKILL")
    wait(lambda: gateway.get("/readyz")[0] == 503, "not ready")
    assert b"broker is BACKOFF" in gateway.get("/readyz")[2]
    supervisor.put("broker", ActorState.READY, incarnation=2)
    wait(lambda: gateway.get("/readyz")[0] == 200, "ready again")


def test_status_is_the_supervisors_report_and_says_how_old_it_is(
    gateway: Any, supervisor: Any
) -> None:
    status, headers, body = gateway.get("/api/status")
    told = json.loads(body)
    expected = supervisor.status()
    told.pop("time"), expected.pop("time")
    assert (status, told) == (200, expected)
    assert float(headers["x-age-seconds"]) < 5


def test_a_page_gets_everything_at_first_and_then_only_what_is_new(
    events: Any, supervisor: Any
) -> None:
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
    told = events.until(lambda m: m["events"])["events"]
    assert [(e["who"], e["level"]) for e in told] == [("broker", "warning")]
    assert "killed by SIGKILL" in told[0]["text"]
    assert all(not events.next()["events"] for _ in range(3)), "no event comes twice"


def test_a_page_is_told_when_the_supervisor_falls_silent_and_when_it_is_back(
    events: Any, supervisor: Any
) -> None:
    events.next()
    supervisor.silent = True
    message = events.until(lambda m: m["trouble"])
    assert "did not answer" in message["trouble"]
    assert message["report"] is not None, "what was known last stays on the page"
    supervisor.silent = False
    message = events.until(lambda m: not m["trouble"])
    assert [e["text"] for e in message["events"]] == ["answers again"]


def test_a_watched_fleet_is_looked_at_more_often(events: Any) -> None:
    events.next()
    events.next()
    begun = time.monotonic()
    for _ in range(4):
        events.next()
    assert time.monotonic() - begun < 2.5, "an unwatched one takes four seconds for this"


@pytest.mark.parametrize("verb", ["pause", "resume", "reset"])
def test_a_robot_is_commanded_with_the_token(gateway: Any, supervisor: Any, verb: str) -> None:
    assert gateway.post(f"/api/robots/r1/{verb}") == (200, {"result": None})
    assert supervisor.asked == [{"do": verb, "names": ["r1"]}]


def test_an_actor_with_a_slash_in_its_name_is_restarted(gateway: Any, supervisor: Any) -> None:
    assert gateway.post("/api/actors/r1/network/restart")[0] == 200
    assert gateway.post("/api/actors/r1%2Fnetwork/restart")[0] == 200
    assert supervisor.asked == [{"do": "restart", "names": ["r1/network"]}] * 2


def test_what_the_supervisor_refuses_is_told_in_its_own_words(gateway: Any) -> None:
    status, body = gateway.post("/api/actors/r1/netwrk/restart")
    assert status == 409
    assert "did you mean 'r1/network'?" in body["error"]


def test_a_command_to_a_supervisor_that_does_not_answer_says_so(
    gateway: Any, supervisor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_supervisor, "COMMAND_S", 0.2)
    supervisor.silent = True
    status, body = gateway.post("/api/robots/r1/pause")
    assert status == 503
    assert "did not answer" in body["error"]


def test_no_other_command_gets_through(gateway: Any, supervisor: Any) -> None:
    authorization = {"authorization": f"Bearer {gateway.token}"}
    for path in ("/api/actors/broker/kill", "/api/robots/r1/shutdown", "/api/status", "/"):
        status, _, body = gateway.request("POST", path, authorization)
        assert status == 404, path
        assert b"expected" in body
    assert gateway.request("DELETE", "/api/status", authorization)[0] == 405
    assert not supervisor.asked


def test_a_thumbnail_is_the_newest_frame_with_its_colours_and_its_age(gateway: Any) -> None:
    status, _, body = gateway.get("/api/camera/r1/overhead.jpg")
    assert (status, body) == (503, b"camera r1/overhead has no frame yet\n")
    ring = FrameRing(gateway.rings["r1/overhead"], SHAPE)
    for color in ((0, 0, 255), (255, 0, 0)):
        ring.put(np.full(SHAPE, color, np.uint8), time.monotonic_ns() - 50_000_000)
    status, headers, body = gateway.get("/api/camera/r1/overhead.jpg")
    assert (status, headers["content-type"], headers["x-frame"]) == (200, "image/jpeg", "2")
    assert 50 <= int(headers["x-frame-age-ms"]) < 5000
    red, green, blue = simplejpeg.decode_jpeg(body).reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert green < 15
    assert blue < 15


def test_a_thumbnail_is_small_in_the_cameras_proportions_and_made_once_for_each_frame() -> None:
    shape = (480, 640, 3)
    memory = bytearray(FrameRing.size_for(shape))
    thumbnails = Thumbnails({"r1/top": memory})
    ring = FrameRing(memory, shape)
    ring.put(np.full(shape, 77, np.uint8), time.monotonic_ns())
    first = thumbnails.newest("r1/top")
    assert first is not None
    assert simplejpeg.decode_jpeg(first.jpeg).shape == (240, 320, 3)
    assert thumbnails.newest("r1/top") is first
    ring.put(np.full(shape, 78, np.uint8), time.monotonic_ns())
    assert thumbnails.newest("r1/top") is not first


def test_a_sensors_next_incarnation_and_another_camera_do_not_mix(gateway: Any) -> None:
    for camera, value in (("r1/overhead", 30), ("r1/wrist", 200)):
        ring = FrameRing(gateway.rings[camera], SHAPE, incarnation=1)
        ring.put(np.full(SHAPE, value, np.uint8), time.monotonic_ns())
        assert _mean(gateway, camera) == pytest.approx(value, abs=3)
    again = FrameRing(gateway.rings["r1/wrist"], SHAPE, incarnation=2)
    again.put(np.full(SHAPE, 90, np.uint8), time.monotonic_ns())
    assert _mean(gateway, "r1/wrist") == pytest.approx(90, abs=3)
    assert _mean(gateway, "r1/overhead") == pytest.approx(30, abs=3)


def test_an_unknown_camera_is_named_with_those_there_are(gateway: Any) -> None:
    status, _, body = gateway.get("/api/camera/r1/overheat.jpg")
    assert status == 404
    assert b"r1/overhead, r1/wrist" in body
    assert gateway.get("/api/camera/../../etc/passwd.jpg")[0] == 404


def test_memory_that_holds_no_ring_is_an_answer_and_not_a_crash(gateway: Any) -> None:
    gateway.rings["r1/wrist"][:8] = b"nonsense"
    assert gateway.get("/api/camera/r1/wrist.jpg")[0] == 503
    assert gateway.get("/healthz")[0] == 200


def test_a_restarted_gateway_keeps_its_address_and_token(
    rundir: Path, supervisor: Any, make_gateway: Any
) -> None:
    first = make_gateway(port=None)
    url = first.url
    assert stat.S_IMODE((rundir / "gateway.url").stat().st_mode) == 0o600
    first.close()
    second = make_gateway(port=None, incarnation=2)
    assert second.url == url
    assert second.post("/api/robots/r1/pause", first.token)[0] == 200


def test_a_taken_usual_port_is_evaded_and_a_demanded_one_refused(
    make_gateway: Any, supervisor: Any
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        refused = make_gateway(port=taken)
        assert refused.code == 3
        farewell = refused.supervisor.messages()[0] + refused.heard
        reasons = [m.reason for m in farewell if hasattr(m, "reason")]
        assert str(taken) in reasons[0]
        assert "gateway.port" in reasons[0]
        (refused.rundir / "gateway.url").write_text(f"http://127.0.0.1:{taken}/#secret\n")
        evading = make_gateway(port=None)
        assert evading.code is None
        assert evading.port != taken
        assert evading.token == "secret", "a page that was open may still command"


def test_progress_is_counted_while_a_page_that_does_not_read_is_open(gateway: Any) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as lazy:
        token = f"Authorization: Bearer {gateway.token}"
        lazy.sendall(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\n{token}\r\n\r\n".encode())
        before = gateway.actor.board.turns
        deadline = time.monotonic() + 5
        while gateway.actor.board.turns < before + 4:
            assert time.monotonic() < deadline, "the gateway stands still"
            time.sleep(0.01)


def _mean(gateway: Any, camera: str) -> float:
    _, _, body = gateway.get(f"/api/camera/{camera}.jpg")
    return float(simplejpeg.decode_jpeg(body).mean())

"""When a status is not ready, not healthy and failing, and the sentences of that."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.runtime.spec import Member, Rules
from holdfast.actors.supervision import report
from holdfast.actors.supervision.health import failing, unhealthy, unready, warnings
from holdfast.actors.supervision.notes import notes
from holdfast.actors.supervision.report import ActorFacts
from holdfast.actors.supervision.supervised import ActorRecord, ActorState

STREAMING = {"state": "STREAMING", "reason": "", "refusing_s": 0.0, "refusing": "", "warnings": []}
SESSION = {
    "robot": "guest",
    "epoch": 3,
    "service": "pick",
    "replica": "pick/0",
    "state": "open",
    "waiting": False,
    "silent_s": 0.2,
    "kind": "script",
    "host": "bench",
    "pid": 17,
}


def status(
    control: dict[str, Any] | None = None,
    state: ActorState = ActorState.READY,
    *,
    reason: str = "",
    last_exit: str | None = None,
    age_s: float | None = 0.01,
    broker: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Of a fleet of a broker and r1/control, which is in `state` and has reported `control`."""
    facts = [
        ActorFacts(
            name=name,
            kind=name.rpartition("/")[2],
            robot=None,
            pid=1,
            uptime_s=1.0,
            progress_age_s=age if state is ActorState.READY else None,
            memory_mb=1.0,
            last_exit=last_exit_text,
            last_error=None,
            report=reported,
        )
        for name, reported, age, last_exit_text in (
            ("broker", broker, 0.01, None),
            ("r1/control", STREAMING | (control or {}), age_s, last_exit),
        )
    ]
    actors = {
        "broker": ActorRecord(ActorState.READY),
        "r1/control": ActorRecord(state, reason=reason),
    }
    rules = Rules(hang_timeout_s=5.0)
    members = {name: Member(name, rules) for name in actors}
    return report.status("cell", 1.0, facts, actors, ["r1"], members, 0.0)


@pytest.mark.parametrize(
    ("refusing_s", "healthy"), [(0.0, True), (0.9, True), (1.1, False), (600.0, False)]
)
def test_a_robot_whose_commands_are_all_refused_is_not_healthy(
    refusing_s: float, healthy: bool
) -> None:
    """After a second of refusals only, the robot is unhealthy with the reason."""
    why = "joint elbow: 92.1 is beyond its limit of 2.6"
    body = status({"refusing_s": refusing_s, "refusing": why})
    assert body["healthy"] is healthy
    reported = [f"robot r1 has refused every command for {refusing_s:.0f} s: {why}"]
    assert unhealthy(body) == ([] if healthy else reported)


def test_warnings_are_listed_and_leave_a_fleet_healthy() -> None:
    """A handshake's warning appears in `warnings` and in neither `unhealthy` nor `unready`."""
    body = status({"warnings": ["fps 60 on a policy of 30"]})
    assert body["healthy"] and unready(body) == []
    assert warnings(body) == [("r1", "fps 60 on a policy of 30")]


@pytest.mark.parametrize("state", ["CONNECTING", "STALLED", "RECONNECTING", "DEAD"])
def test_a_robot_that_is_not_driven_is_not_healthy_for_its_reason(state: str) -> None:
    """Each state without a running plan is unhealthy, with the robot's own reason."""
    body = status({"state": state, "reason": "tcp://gpu:7447 does not answer"})
    assert unhealthy(body) == [f"robot r1 is {state}: tcp://gpu:7447 does not answer"]


def test_a_robot_without_a_control_actor_shows_why_and_no_old_reasons() -> None:
    """DOWN shows the control actor's state; reasons of its last report are not shown."""
    reported = {
        "reason": "an old reason",
        "refusing_s": 9.0,
        "refusing": "old",
        "warnings": ["old"],
    }
    body = status(reported, ActorState.BACKOFF, reason="killed by SIGKILL")
    (row,) = body["robots"]
    assert row["state"] == "DOWN"
    assert row["reason"] == ("r1/control is BACKOFF: killed by SIGKILL; waits for its next start")
    assert (row["refusing_s"], row["refusing"], row["warnings"]) == (0.0, "", [])
    assert not any("old" in sentence for sentence in unhealthy(body))


def test_an_actor_that_a_person_stopped_is_healthy_and_not_ready() -> None:
    """A stop by a person is listed by `unready` and by neither `unhealthy` nor `failing`."""
    body = status(state=ActorState.STOPPED, reason="stopped by a person", last_exit="exited with 0")
    assert body["healthy"] and unhealthy(body) == []
    assert unready(body) == ["r1/control is STOPPED: stopped by a person"]
    assert failing(body) == []


def test_an_actor_fails_if_it_hangs_or_no_longer_runs() -> None:
    """Half a hang timeout without progress, or a start after an exit; not a first start."""
    assert failing(status(age_s=2.4)) == []
    assert failing(status(age_s=2.6)) == ["r1/control has made no progress for 2.6 s"]
    assert failing(status(state=ActorState.STARTING)) == []
    assert failing(status(state=ActorState.WAITING)) == []
    fallen = status(
        state=ActorState.STARTING, reason="killed by SIGKILL", last_exit="killed by SIGKILL"
    )
    assert failing(fallen)[0].startswith("r1/control is STARTING: killed by SIGKILL; waits for")
    for state in (ActorState.BACKOFF, ActorState.FAILED):
        assert failing(status(state=state)), state
    assert failing(status({"state": "STALLED", "reason": "no replica"})) == [], "no process fails"


def test_a_dead_robot_is_not_healthy_and_no_failing_process() -> None:
    """DEAD waits for a person: a watchdog on `failing` must not restart it."""
    gone = {"state": "DEAD", "reason": "no chunk came for 60 s"}
    body = status(gone, ActorState.FAILED, reason="is dead", last_exit="exited with status 4")
    assert "robot r1 is DEAD: no chunk came for 60 s" in unhealthy(body)
    assert failing(body) == []


def test_robots_of_scripts_and_other_hosts_are_shown_and_do_not_affect_health() -> None:
    """They appear under `site` with place, state and reason; the fleet stays healthy and ready."""
    trouble = {"state": "STALLED", "reason": "no replica", "warnings": ["fps 60 on a policy of 30"]}
    replica = {"name": "pick/9", "service": "pick", "sessions": 1, "capacity": 8, "load": 0.1}
    own = SESSION | {"robot": "r1", "kind": "fleet"}
    sessions = [own, SESSION | {"vitals": trouble}]
    broker = {
        "sessions": sessions,
        "replicas": [
            replica
            | {"progress_age_s": 0.1, "draining": True, "kind": "fleet", "host": "gpu", "pid": 4}
        ],
    }
    body = status(broker=broker)
    (robot,) = body["site"]["robots"]
    assert (robot["name"], robot["where"]) == ("guest", "script on bench")
    assert robot["state"] == "STALLED"
    assert (robot["reason"], robot["plan_s"], robot["dropped"]) == ("no replica", None, {})
    (other,) = body["site"]["replicas"]
    assert (other["name"], other["where"], other["state"]) == ("pick/9", "gpu", "DRAINING")
    assert body["healthy"] and unready(body) == []
    assert warnings(body) == [("guest", "fps 60 on a policy of 30")]


@pytest.mark.parametrize(("session", "waits"), [("opening", "handshake"), ("none", "of 'pick'")])
def test_a_robot_without_vitals_has_a_state_and_a_reason(session: str, waits: str) -> None:
    """State and reason are then derived from its session at the broker."""
    body = status(broker={"sessions": [SESSION | {"state": session}], "replicas": []})
    (row,) = body["site"]["robots"]
    assert row["state"] == "CONNECTING" and waits in row["reason"]
    body = status(broker={"sessions": [SESSION | {"silent_s": 3.0}], "replicas": []})
    (row,) = body["site"]["robots"]
    assert row["state"] == "OPEN" and row["reason"] == "silent for 3.0 s"


def test_a_log_is_unhealthy_only_while_it_cannot_be_written() -> None:
    """A present write error is unhealthy; lines lost in the past are not."""
    log = {"path": "/state/log.jsonl", "lost": 7, "error": "No space left on device"}
    body = {"actors": [], "robots": [], "log": log}
    [reported] = unhealthy(body)
    assert "/state/log.jsonl" in reported and "No space left" in reported and "7 lines" in reported
    assert unhealthy({**body, "log": {**log, "error": ""}}) == []


def test_a_sensor_is_unhealthy_only_while_it_has_no_frames() -> None:
    """A reason in a READY sensor's report is unhealthy and a note; no reason is neither."""
    reason = "camera source 7 does not open"
    row = {"name": "r1/wrist", "kind": "sensor", "state": "READY", "report": {"reason": reason}}
    body = {"actors": [row], "robots": []}
    assert unhealthy(body) == [f"r1/wrist has no frames: {reason}"]
    assert [note.text for note in notes(body | {"site": {}})] == [f"has no frames: {reason}"]
    for report_of_one_that_sees in ({"reason": ""}, {}, None):
        assert (
            unhealthy({"actors": [row | {"report": report_of_one_that_sees}], "robots": []}) == []
        )


def test_lost_audit_records_are_a_warning_with_their_number() -> None:
    """Lost evidence yields a note with the count and leaves the fleet healthy."""
    row = {"name": "pick/0", "kind": "inference", "state": "READY", "report": {"evidence_lost": 3}}
    body = {"actors": [row], "robots": [], "site": {}}
    [note] = notes(body)
    assert note.name == "pick/0" and note.text.startswith("3 records")
    assert unhealthy(body) == []
    assert notes({**body, "actors": [row | {"report": {"evidence_lost": 0}}]}) == []


def test_a_note_on_a_stopped_actor_has_no_empty_reason_and_a_remedy_only_while_the_fleet_runs() -> (
    None
):
    """A fleet that ends has stopped every actor, and none can be started."""
    stopped = {"name": "pick/0", "kind": "inference", "state": "STOPPED"}
    running = {"name": "broker", "kind": "broker", "state": "READY"}
    body = {"actors": [stopped, running], "robots": [], "site": {}}
    [note] = notes(body)
    assert note.text == "STOPPED: `actorctl start pick/0` starts it"
    [note] = notes({**body, "actors": [stopped]})
    assert note.text == "STOPPED"

"""`supervisor check --online` against a running fleet, whose robots it must not disturb."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast import Fleet
from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.synthetic import write_spec
from holdfast.robot.sim import SPEC
from holdfast.tests.waiting import wait_until
from holdfast.transport.keys import Role, new

WITHIN_S = 100.0
"""Five seconds are promised; starting Python on a busy test machine comes on top, and may take
several times as long."""
# No request times out and no actor counts as hung: on a busy machine both would be disturbances.
FLEET = """
name: online
gateway: {{enabled: false}}
supervision: {{rules: {{all: {{hang_timeout_s: 60}}}}}}
{security}
services:
  pick: {{policy: constant, checkpoint: {pick}, max_sessions: 1}}
  strict: {{policy: constant, checkpoint: {strict}, strict_fps: true}}
robots:
  - name: r1
    service: pick
    fps: {fps}
    cameras: {{overhead: {{width: 64, height: 48}}}}
    rename: {rename}
    safety: {{request_timeout_s: 60}}
  - name: r2
    service: strict
    fps: {fps}
    cameras: {{overhead: {{width: 64, height: 48}}}}
    rename: {rename}
    safety: {{request_timeout_s: 60}}
"""


class Files:
    """Fleet files that differ in a camera, the rate, or the keys."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, camera: str = "overhead", fps: int = 30, security: str = "") -> Path:
        policy = self.policy(camera)
        path = self.directory / f"{camera}-{fps}-{bool(security)}.yaml"
        rename = "{}" if camera == "overhead" else f"{{overhead: {camera}}}"
        text = FLEET.format(pick=policy, strict=policy, fps=fps, rename=rename, security=security)
        path.write_text(text)
        return path

    def policy(self, camera: str) -> Path:
        """A checkpoint that needs no weights, and sees through `camera`."""
        directory = self.directory / f"sees-{camera}"
        spec = PolicySpec(
            model="test",
            revision="1",
            cameras=(CameraFeature(camera, 32, 24),),
            state_names=SPEC.state_names,
            action_names=SPEC.action_names,
            chunk_size=45,
            fps=30,
        )
        write_spec(directory, spec)
        return directory


def run(command: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / command, *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def check(fleet: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status, and the answer for each robot."""
    began_s = time.monotonic()
    done = run("supervisor", "check", fleet, "--online", "--json")
    assert time.monotonic() - began_s < WITHIN_S
    assert done.stdout.startswith("{"), done.stderr
    return done.returncode, {row["robot"]: row for row in json.loads(done.stdout)["robots"]}


@contextmanager
def undisturbed(fleet: Fleet, questions: int = 2) -> Iterator[None]:
    """Asserts that the block, which asks `questions`, changes nothing for the running robots."""
    before = state(fleet)
    asked = broker(fleet)["counters"].get("inquiries", 0) + questions
    yield
    wait_until(lambda: broker(fleet)["counters"].get("inquiries", 0) >= asked, "inquiries")
    assert state(fleet) == before


def broker(fleet: Fleet) -> dict[str, Any]:
    """The broker's report, some times a second."""
    report = next(a for a in fleet.status()["actors"] if a["name"] == "broker")["report"]
    return report or {"sessions": [], "counters": {}}


def state(fleet: Fleet) -> dict[str, Any]:
    """What would change if a robot were disturbed."""
    report = broker(fleet)
    sessions = {(s["robot"], s["epoch"], s["replica"], s["state"]) for s in report["sessions"]}
    # Not `lost-with-connection`: a heartbeat that meets the answer to its request counts there.
    ends = ("ended", "lost", "moves")
    ended = {k: n for k, n in report["counters"].items() if k.startswith("ended") or k in ends}
    # An episode's end drops the requests of it, without an inquiry too.
    faults = ("timeout", "unsent", "malformed")
    robots = {
        r["name"]: (r["enabled"], r["epoch"], {k: r["dropped"].get(k, 0) for k in faults})
        for r in fleet.status()["robots"]
    }
    return {"sessions": sessions, "ended": ended, "robots": robots}


def streaming(fleet: Fleet) -> None:
    """Wait until every robot has a session, and the broker has reported it."""
    fleet.wait()
    wait_until(
        lambda: [s["state"] for s in broker(fleet)["sessions"]] == ["open", "open"],
        "two open sessions",
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("online"))


@pytest.fixture(scope="module")
def fleet(files: Files) -> Iterator[Fleet]:
    """One fleet for all tests that leave it as they found it."""
    with Fleet(files.write()) as running:
        streaming(running)
        yield running


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None:
    """Replaces the suite's check for this module: its fleet lives from test to test."""


def test_a_check_online_without_the_fleet_names_supervisor_start(tmp_path: Path) -> None:
    """The exit status is 1."""
    path = Files(tmp_path).write()
    path.write_text(path.read_text().replace("name: online", "name: absent"))
    done = run("supervisor", "check", path, "--online")
    assert done.returncode == 1
    assert "no fleet 'absent' runs on this machine" in done.stderr
    assert run("supervisor", "check", path).returncode == 0, "the file itself is right"


def test_robots_at_work_are_accepted_in_their_own_places_undisturbed(
    files: Files, fleet: Fleet
) -> None:
    """`pick` has one place, which r1 has; chunks go on coming."""
    merged = {r["name"]: r["merged"] for r in fleet.status()["robots"]}
    with undisturbed(fleet):
        status, rows = check(files.write())
        wait_until(
            lambda: all(r["merged"] > merged[r["name"]] for r in fleet.status()["robots"]),
            "new chunks of both robots",
        )
    assert (status, {n: r["accepted"] for n, r in rows.items()}) == (0, {"r1": True, "r2": True})
    assert rows["r1"]["replica"] == "pick/0"
    assert any("cannot continue a plan" in warning for warning in rows["r1"]["warnings"])


def test_a_camera_that_the_running_policy_does_not_know_is_rejected_by_name(
    files: Files, fleet: Fleet
) -> None:
    """The file is right in itself: only the fleet that runs has another checkpoint."""
    with undisturbed(fleet):
        status, rows = check(files.write(camera="hand"))
    assert status == 1
    for name in ("r1", "r2"):
        assert not rows[name]["accepted"] and rows[name]["reason"] == "cameras"
        assert "has cameras [hand]" in rows[name]["message"]
        assert "[overhead]" in rows[name]["message"]
    shown = run("supervisor", "check", files.write(camera="hand"), "--online")
    assert shown.returncode == 1 and "r1: robot r1 has cameras [hand]" in shown.stdout


def test_another_rate_is_a_warning_or_with_strict_fps_a_rejection(
    files: Files, fleet: Fleet
) -> None:
    """The replica's rule counts, which a file that does not know it learns only by asking."""
    knowing = files.write(fps=20)
    refused = run("supervisor", "check", knowing)
    assert refused.returncode == 2 and "strict_fps" in refused.stderr
    text = knowing.read_text()
    assert "strict_fps: true" in text
    knowing.write_text(text.replace("strict_fps: true", "strict_fps: false"))
    with undisturbed(fleet):
        status, rows = check(knowing)
    assert status == 1
    assert rows["r1"]["accepted"]
    assert any("runs at 20 Hz" in warning for warning in rows["r1"]["warnings"])
    assert not rows["r2"]["accepted"] and rows["r2"]["reason"] == "fps"


def test_an_absent_replica_and_an_absent_broker_have_different_reasons(
    files: Files, fleet: Fleet
) -> None:
    """Each message says what to start."""
    assert run("actorctl", "stop", "strict/0").returncode == 0
    status, rows = check(files.write())
    assert status == 1
    assert rows["r1"]["accepted"] and rows["r2"]["reason"] == "no-replica"
    assert run("actorctl", "stop", "broker").returncode == 0
    done = run("supervisor", "check", files.write(), "--online")
    assert done.returncode == 1
    assert "no broker answers at ipc://" in done.stderr
    assert run("actorctl", "start", "broker", "strict/0").returncode == 0
    streaming(fleet)


def test_each_robot_is_asked_about_under_its_own_key(tmp_path: Path) -> None:
    """Without the keys the broker does not answer."""
    files, keys = Files(tmp_path), tmp_path / "keys"
    for name, role in (
        ("broker", Role.BROKER),
        ("r1", Role.ROBOT),
        ("r2", Role.ROBOT),
        ("pick/0", Role.REPLICA),
        ("strict/0", Role.REPLICA),
    ):
        new(name, role, keys)
    secured = files.write(security=f"security: {{keys: {keys}}}")
    plain = files.write()
    for path in (secured, plain):
        path.write_text(path.read_text().replace("name: online", "name: secured"))
    with Fleet(secured) as fleet:
        streaming(fleet)
        with undisturbed(fleet):
            assert check(secured)[0] == 0
        with undisturbed(fleet, questions=0):
            done = run("supervisor", "check", plain, "--online")
        assert done.returncode == 1 and "no broker answers" in done.stderr

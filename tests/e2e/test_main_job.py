"""The main job: `supervisor start fleet.yaml`, then every actor and the supervisor are killed. Real
processes, the shipped policy, the default fleet."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.runtime.runtime_dir import SOCKET, runtime_base, state_dir
from holdfast.tests.chaos.recorder import Recorder
from holdfast.tests.chaos.witnesses import Disturbance, Witnesses, harmed
from holdfast.tests.e2e.conftest import FleetProcess, Gone, StartFleet, row, without_a_stall
from holdfast.tests.waiting import wait_until

PERIOD_NS = round(1e9 / 30)

pytestmark = pytest.mark.timeout(600)

ACTOR_KEYS = {
    "name",
    "kind",
    "state",
    "pid",
    "incarnation",
    "restarts",
    "uptime_s",
    "last_exit",
}
ROBOT_KEYS = {
    "name",
    "state",
    "ticks",
    "missed_ticks",
    "missed_ticks_machine",
    "tick_lateness_us",
    "plan_s",
    "requests",
    "merged",
    "dropped",
    "request_latency_ms",
    "stalled_ticks",
    "stale_dropped",
    "episodes",
    "successes",
}


def robot(status: dict[str, Any], name: str) -> dict[str, Any]:
    return row(status["robots"], name)


# Of one fleet, because another one costs as much again.
def test_the_default_fleet_plays_and_ends_at_a_ctrl_c_with_a_clean_report(
    start_fleet: StartFleet, gone: Gone, runtime: Path
) -> None:
    """No tick is missed, no action stale; each actor ends by itself and leaves nothing."""
    fleet = start_fleet()
    fleet.streaming()
    wait_until(lambda: fleet.actorctl("status").returncode == 0, "a good exit status", every_s=0.5)
    fleet.wait_for(without_a_stall(6 * 30), 120)
    fleet.wait_for(
        lambda now: (
            now["healthy"] and all(r["ticks"] > 8 * 30 and r["merged"] > 10 for r in now["robots"])
        ),
        60,
    )
    pids = fleet.pids()
    since_s = time.time()
    fleet.interrupt()
    assert fleet.wait(60) == 0, fleet.said()
    gone(pids, 60)
    # How they ended tells more than how soon: one that waits to be killed takes its stop timeout.
    log = (state_dir("conveyor") / "log.jsonl").read_text().splitlines()
    said = [r["message"] for r in map(json.loads, log) if r["t"] >= since_s]
    ended = [line for line in said if "-> STOPPED" in line]
    assert {line.partition(":")[0] for line in ended} == pids.keys()
    assert not [line for line in ended if "SIGKILL" in line]
    assert not [p for p in runtime.rglob("*") if p.is_socket()]
    report = fleet.report()
    assert all(set(a) >= ACTOR_KEYS for a in report["actors"])
    assert {r["name"] for r in report["robots"]} == {"r1", "r2"}
    for one in report["robots"]:
        assert set(one) >= ROBOT_KEYS
        assert one["missed_ticks"] == 0, one
        assert one["stale_dropped"] == 0, one
        assert set(one["tick_lateness_us"]) == {"p50", "p99", "p999", "max"}
        assert set(one["request_latency_ms"]) >= {"p50", "p99"}
    assert report["witness"]["ticks"] > 8 * 30


def test_a_fleet_ends_by_itself_after_its_duration(start_fleet: StartFleet, tmp_path: Path) -> None:
    """With exit status 0 and a report, and not before."""
    (tmp_path / "fleet.yaml").write_text("name: brief\nservices: {}\nrobots: []\n")
    fleet = start_fleet("--duration", "10", fleet=tmp_path / "fleet.yaml")
    assert fleet.wait(60) == 0, fleet.said()
    assert fleet.report()["uptime_s"] >= 10 - 0.1


def test_a_ctrl_c_while_actors_are_still_starting_leaves_nothing(start_fleet: StartFleet) -> None:
    """The supervisor ends; the suite checks what is left after every test."""
    fleet = start_fleet()
    fleet.wait_for(lambda s: any(a["pid"] for a in s["actors"]), 60)
    fleet.interrupt()
    fleet.wait(60)


@pytest.mark.alone  # its replica needs the machine's processors
@pytest.mark.slow  # chaos/test_every_actor does the same with a policy that costs less
def test_a_killed_actor_costs_no_robot_a_tick_unless_it_was_its_control(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """SIGKILL of each in turn: all are READY again; pauses of the machine are no misses."""
    with closing(Witnesses(tmp_path)) as witnesses:
        fleet = start_fleet("--duration", "600")
        fleet.streaming()
        control_socket = runtime_base() / "conveyor" / SOCKET
        recorders = [Recorder(control_socket, name) for name in ("r1", "r2")]
        for recorder in recorders:
            recorder.start()
        disturbances = kill_each(fleet)
        fleet.streaming()
        for recorder in recorders:
            recorder.saw(disturbances[-1].until_ns)
            recorder.end()
        fleet.interrupt()
        assert fleet.wait(60) == 0, fleet.said()
        pauses = witnesses.end()
    for recorder in recorders:
        assert recorder.reader.lost == 0, "the recorder was too slow to judge by"
        assert recorder.ticks[0].instant_ns < disturbances[0].until_ns
        fault = harmed(recorder.robot, recorder.ticks, PERIOD_NS, disturbances, pauses)
        assert not fault, fault
    restarts = {a["name"]: a["restarts"] for a in fleet.report()["actors"]}
    assert {name for name, count in restarts.items() if count} >= {d.victim for d in disturbances}


def kill_each(fleet: FleetProcess) -> list[Disturbance]:
    """Kill every actor but those of r2, one after the other, each once all is well again."""
    victims = sorted(a["name"] for a in fleet.status()["actors"] if not a["name"].startswith("r2/"))
    assert {"broker", "pick/0", "r1/control", "r1/network", "r1/overhead", "r1/driver"} <= set(
        victims
    )
    disturbances = []
    for victim in victims:
        before = fleet.streaming()
        pid = row(before["actors"], victim)["pid"]
        merged = {r["name"]: r["merged"] for r in before["robots"]}
        began_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)

        def recovered(
            status: dict[str, Any], victim: str = victim, pid: int = pid, merged: Any = merged
        ) -> bool:
            actor = row(status["actors"], victim)
            return (
                actor["pid"] not in (None, pid)
                and actor["state"] == "READY"
                and all(r["state"] == "STREAMING" for r in status["robots"])
                and all(r["merged"] > merged[r["name"]] for r in status["robots"])
            )

        after = fleet.wait_for(recovered, 60)
        disturbances.append(Disturbance(victim, began_ns, time.monotonic_ns()))
        for name in ("r1", "r2"):
            assert robot(after, name)["ticks"] > robot(before, name)["ticks"]
    return disturbances


def test_a_killed_supervisor_leaves_no_process_and_the_next_start_works(
    start_fleet: StartFleet, light: Path, gone: Gone
) -> None:
    """Every actor ends, one that is stopped (SIGSTOP) included."""
    fleet = start_fleet(fleet=light)
    fleet.streaming()
    pids = fleet.pids()
    os.kill(pids["r2/network"], signal.SIGSTOP)
    fleet.process.kill()
    fleet.process.wait(60)
    gone(pids, 60)
    again = start_fleet(fleet=light)
    again.streaming()
    again.interrupt()
    assert again.wait(60) == 0, again.said()


def test_an_actorctl_kill_finds_the_fleet_by_itself(start_fleet: StartFleet, light: Path) -> None:
    """The actor is restarted; an unknown name is refused with the nearest known one."""
    fleet = start_fleet(fleet=light)
    before = fleet.streaming()
    done = fleet.actorctl("kill", "r1/network")
    assert done.returncode == 0, done.stderr
    pid = row(before["actors"], "r1/network")["pid"]

    def restarted(status: dict[str, Any]) -> bool:
        network = row(status["actors"], "r1/network")
        return bool(network["state"] == "READY" and network["pid"] != pid)

    fleet.wait_for(restarted, 60)
    wrong = fleet.actorctl("kill", "r1/netwrk")
    assert wrong.returncode != 0
    assert "r1/network" in wrong.stderr + wrong.stdout
    fleet.streaming()
    fleet.interrupt()
    assert fleet.wait(60) == 0


@pytest.mark.parametrize(
    ("edit", "path", "remedy"),
    [
        (lambda t: t.replace("robots:", "robotz:", 1), "$", "robots"),
        (lambda t: t.replace("fps: 30", "fps: 0", 1), "fps", "0"),
        (lambda t: t.replace("fps: 30", "fps: fast", 1), "fps", "actions per second"),
        (lambda t: t.replace("name: r2", "name: r1", 1), "$.robots[1].name", "r1"),
        (lambda t: t.replace("overhead:", "overheat:"), "overhead", "camera"),
    ],
    ids=["unknown-key", "fps-zero", "wrong-type", "two-of-one-name", "camera-matches-nothing"],
)
def test_a_bad_fleet_file_is_refused_before_any_process_starts(
    start_fleet: StartFleet, tmp_path: Path, edit: Callable[[str], str], path: str, remedy: str
) -> None:
    """The message names the place, what was found, and what would be right."""
    good = (Path(__file__).parents[2] / "fleet.yaml").read_text()
    bad = edit(good)
    assert bad != good, "the default fleet no longer has what this test spoils"
    (tmp_path / "bad.yaml").write_text(bad)
    fleet = start_fleet(fleet=tmp_path / "bad.yaml")
    assert fleet.wait(60) not in (0, None)
    said = fleet.said()
    assert path in said, said
    assert remedy in said, said
    assert "Traceback" not in said

"""A fleet whose robot is an arm behind a bad bus, with a driver of the user's own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.driver import latch
from holdfast.actors.runtime.runtime_dir import state_dir
from holdfast.tests.chaos import arm_fleet as arms
from holdfast.tests.chaos.arm_fleet import FPS, ArmFleet, kill_and_await, near
from holdfast.tests.chaos.conftest import actor, robot
from holdfast.tests.e2e.conftest import BIN, all_well
from holdfast.tests.waiting import wait_until

SPAN = 250
"""For so many ticks a bad bus is looked at."""

pytestmark = pytest.mark.timeout(600)

start_arm = arms.start_arm


def test_a_bus_that_blocks_stumbles_and_fails_costs_control_no_tick(
    start_arm: Callable[..., ArmFleet],
) -> None:
    """3 to 8 ms a transaction, 50 ms hiccups, damaged packets: the arm is commanded anyway."""
    fleet = start_arm({"bus_ms": [3, 8], "hiccup_every": 60, "error_every": 60, "creep": 0.02})
    before = robot(fleet.status(), "arm")
    since_ns = time.monotonic_ns()

    def stumbled(now: dict[str, Any]) -> bool:
        report = actor(now, "arm/driver")["report"]
        hiccups = report["calls_ms"]["read_state"]["max"] > 45
        return bool(hiccups and sum(report["errors"].values()) > 5)

    fleet.wait_for(
        lambda now: stumbled(now) and robot(now, "arm")["ticks"] > before["ticks"] + SPAN, 60
    )
    assert robot(fleet.status(), "arm")["missed_ticks"] == before["missed_ticks"] == 0

    def commanded_at_most_ticks() -> bool:
        """Whether the bus had a command at more than 0.6 of the ticks of a second, which a machine
        that pauses makes longer."""
        ticks, begun_ns = robot(fleet.status(), "arm")["ticks"], time.monotonic_ns()
        now = fleet.wait_for(lambda now: robot(now, "arm")["ticks"] > ticks + FPS, 60)
        return bool(len(fleet.written(begun_ns)) > 0.6 * (robot(now, "arm")["ticks"] - ticks))

    wait_until(commanded_at_most_ticks, "the arm is commanded at most ticks")
    rows = fleet.written(since_ns)
    poses = [row["pose"] for row in rows]
    moved = [near(b, a) for a, b in pairwise(poses)]
    assert all(moved), "no command was more than a step from the one before"


def signal_to(fleet: ArmFleet, victims: tuple[str, ...], number: signal.Signals) -> None:
    status = fleet.status()
    for name in victims:
        os.kill(actor(status, name)["pid"], number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda n: n.name)
def test_the_first_command_after_a_death_is_a_step_from_the_measured_pose_at_most(
    start_arm: Callable[..., ArmFleet], number: signal.Signals
) -> None:
    """After SIGKILL or SIGSTOP of driver, control, or both, the torque is on and nothing jumps."""
    rules = {"all": {"max_restarts": 10}}
    fleet = start_arm({"creep": 0.02, "bus_ms": [1, 2]}, {"supervision": {"rules": rules}})
    for victims in (("driver",), ("control",), ("driver", "control")):
        die_and_go_on(fleet, number, victims)
    assert fleet.rows("torque off") == []


def die_and_go_on(fleet: ArmFleet, number: signal.Signals, victims: tuple[str, ...]) -> None:
    """Send the signal; the first command after it is near the pose, as all that follow."""
    names = tuple(f"arm/{name}" for name in victims)
    before = fleet.status()
    signal_to(fleet, names, number)
    killed_ns = time.monotonic_ns()
    if number is signal.SIGSTOP or "driver" in victims:
        # The arm is commanded by no process now: it is where the hand puts it.
        quiet = len(fleet.rows("write"))
        wait_until(lambda: time.monotonic_ns() - killed_ns > 50_000_000)
        if number is signal.SIGSTOP:
            assert len(fleet.rows("write")) <= quiet + 3
        fleet.move_by_hand(0.75)
        moved_ns = time.monotonic_ns()
    else:
        moved_ns = killed_ns
    command, pose = fleet.first_after(moved_ns)
    assert near(command, pose), f"{victims}: {command} from {pose}"

    def again(now: dict[str, Any]) -> bool:
        restarts = [actor(now, n)["restarts"] - actor(before, n)["restarts"] for n in names]
        return min(restarts) >= 1 and bool(robot(now, "arm")["state"] == "STREAMING")

    fleet.wait_for(again, 60)
    fleet.commanded()
    rows = fleet.written(moved_ns)
    assert all(near(row["values"], row["pose"]) for row in rows), f"{victims}: a step at most"


def test_a_bus_that_is_silent_for_a_while_is_opened_again_and_the_plan_of_before_is_void(
    start_arm: Callable[..., ArmFleet],
) -> None:
    """Status says why the robot is not commanded; afterwards no person has to help."""
    fleet = start_arm({"creep": 0.02})
    pid = actor(fleet.status(), "arm/driver")["pid"]
    unplugged = fleet.journal.with_name("unplugged")
    unplugged.touch()
    told = fleet.wait_for(lambda now: "the bus is silent" in robot(now, "arm")["reason"], 60)
    assert "device is not open" in robot(told, "arm")["reason"]
    fleet.move_by_hand(0.75)
    again_ns = time.monotonic_ns()
    unplugged.unlink()
    command, pose = fleet.first_after(again_ns)
    assert near(command, pose)
    status = fleet.wait_for(
        lambda now: (
            all_well(now)
            and robot(now, "arm")["void_dropped"] > 0
            and actor(now, "arm/driver")["report"]["outages"] >= 1
        ),
        60,
    )
    assert actor(status, "arm/driver")["pid"] == pid


def test_a_stopped_arm_takes_no_command_until_the_stop_is_lifted_whatever_is_killed(
    start_arm: Callable[..., ArmFleet],
) -> None:
    """Confirmed by the device, and over kills of control, network and driver."""
    fleet = start_arm({"creep": 0.02})
    latch.engage(state_dir("arm"), "arm", "anna", "a hand in the cell")
    answer = fleet.ask_driver("estop")
    assert answer["latched"] and answer["by"] == "anna"
    wait_until(lambda: fleet.ask_driver("estop")["confirmed"])
    stopped_ns = time.monotonic_ns()
    assert len(fleet.rows("hold")) == 1
    for victim in ("control", "network", "driver"):
        kill_and_await(fleet, f"arm/{victim}")
    told = fleet.wait_for(lambda now: "stopped by anna" in robot(now, "arm")["reason"], 60)
    assert "a hand in the cell" in robot(told, "arm")["reason"]
    assert fleet.written(stopped_ns) == []
    fleet.move_by_hand(0.75)
    assert fleet.ask_driver("release") == {"latched": False, "error": ""}
    command, pose = fleet.first_after(stopped_ns)
    assert near(command, pose)
    fleet.streaming()
    assert latch.engaged(state_dir("arm"), "arm") is None


def test_a_base_is_told_to_stand_still_when_its_control_is_gone(
    start_arm: Callable[..., ArmFleet],
) -> None:
    """By its own driver, which needs no supervisor: that one has not noticed yet."""
    rules = {"control": {"hang_timeout_s": 120}}
    fleet = start_arm(
        {"mode": "velocity"}, {"supervision": {"rules": rules}}, safety={"fallback": "zero"}
    )
    signal_to(fleet, ("arm/control",), signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()

    wait_until(lambda: fleet.held(stopped_ns))
    assert actor(fleet.status(), "arm/control")["restarts"] == 0
    assert fleet.written(fleet.held(stopped_ns)[0]["at_ns"]) == []


@pytest.mark.parametrize("at_stop", ["hold", "torque_off"])
def test_a_driver_leaves_its_robot_as_the_file_says(
    start_arm: Callable[..., ArmFleet], at_stop: str
) -> None:
    """An arm that holds is closed as it is: nothing is commanded and no torque is cut."""
    fleet = start_arm({}, safety={"at_stop": at_stop})
    fleet.interrupt()
    fleet.wait(60)
    last = [row["what"] for row in fleet.rows()][-2:]
    assert last == (["torque off", "close"] if at_stop == "torque_off" else ["write", "close"])


RESTLESS_ARM = """
from fake_arm import FakeArm

class RestlessArm(FakeArm):
    def release(self):
        raise OSError(5, "the brake is stuck")
"""


def test_a_rest_that_failed_is_said_by_the_commands_that_start_and_stop(
    start_arm: Callable[..., ArmFleet], tmp_path: Path
) -> None:
    """Both exit with 1 and name the robot's driver, what is not so, and why."""
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "restless_arm.py").write_text(RESTLESS_ARM)
    fleet = start_arm({}, driver="restless_arm:RestlessArm", safety={"at_stop": "torque_off"})
    done = subprocess.run(
        [BIN / "supervisor", "stop", "--fleet", "arm"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1 and "'arm' is stopped" in done.stdout, done.stderr
    assert fleet.wait(60) == 1
    said = "at the stop: arm/driver exited with status 1: the torque is not off: release: "
    for told in (done.stderr, fleet.said()):
        assert said in told and "the brake is stuck" in told, told

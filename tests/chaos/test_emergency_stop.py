"""`actorctl estop` on a fleet whose arm writes down all that is done to it, seen from outside."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.actors.driver import latch
from holdfast.actors.runtime.runtime_dir import runtime_base, state_dir
from holdfast.tests.chaos import arm_fleet as arms
from holdfast.tests.chaos.arm_fleet import (
    ArmFleet,
    estop,
    kill_and_await,
    release_and_judge,
    stopped,
)
from holdfast.tests.chaos.conftest import robot
from holdfast.tests.waiting import wait_until
from holdfast.transport.keys import Role
from holdfast.transport.keys import new as new_key

pytestmark = pytest.mark.timeout(600)

start_arm = arms.start_arm
StartArm = Callable[..., ArmFleet]


def test_a_stopped_arm_is_commanded_nothing_while_all_else_is_killed_in_turn(
    start_arm: StartArm,
) -> None:
    """Control, network, broker, replica, driver, supervisor with all of them; then a release."""
    fleet = start_arm({"creep": 0.02, "bus_ms": [3, 8]})
    said = estop(fleet, "--why", "a hand in the cell")
    stopped_ns = time.monotonic_ns()
    assert said["latched"] and said["confirmed"] and not said["message"]
    for victim in ("arm/control", "arm/network", "broker", "hold/0", "arm/driver"):
        kill_and_await(fleet, victim)
        assert estop(fleet)["confirmed"], f"after the death of {victim}"
    fleet.process.kill()
    fleet.process.wait(60)
    fleet.again()
    status = fleet.wait_for(
        lambda now: (
            stopped(now)
            and robot(now, "arm")["estop"]["confirmed"]
            and "actorctl estop --release arm" in robot(now, "arm")["reason"]
            and all(a["state"] == "READY" for a in now["actors"])
        ),
        60,
    )
    row = robot(status, "arm")
    assert row["estop"]["why"] == "a hand in the cell"
    assert abs(row["estop"]["at_s"] - time.time()) < 600
    assert not status["healthy"]
    assert fleet.written(stopped_ns) == []
    assert fleet.rows("torque off") == []
    release_and_judge(fleet)


def test_a_long_stop_makes_no_robot_dead(start_arm: StartArm) -> None:
    """Being stopped is not being offline: a release is enough to go on."""
    fleet = start_arm({"creep": 0.02}, safety={"max_offline_s": 1.5})
    estop(fleet)
    since_s = time.monotonic()
    fleet.wait_for(lambda now: stopped(now) and time.monotonic() - since_s > 3.0, 60)
    release_and_judge(fleet)


def test_a_driver_in_process_obeys_the_same_stop(start_arm: StartArm) -> None:
    """Confirmed by control, which is killed then; the next one is stopped too."""
    fleet = start_arm({"creep": 0.02}, in_process=True)
    said = estop(fleet, "--why", "smoke")
    stopped_ns = time.monotonic_ns()
    assert said["latched"] and said["confirmed"]
    kill_and_await(fleet, "arm/control")
    wait_until(lambda: estop(fleet)["confirmed"])
    status = fleet.wait_for(
        lambda now: stopped(now) and robot(now, "arm")["estop"]["confirmed"], 60
    )
    assert robot(status, "arm")["estop"]["why"] == "smoke"
    assert fleet.written(stopped_ns) == []
    release_and_judge(fleet)


def test_a_fleet_that_does_not_run_is_stopped_at_its_next_start(start_arm: StartArm) -> None:
    """Everything is dead: the latch alone holds it, and its file can be lifted alone."""
    fleet = start_arm({"creep": 0.02})
    fleet.process.kill()
    fleet.process.wait(60)
    wait_until(lambda: not _driver_lives())
    # By its fleet, because other tests' fleets that do not run have an arm too.
    said = estop(fleet, "--fleet", "arm", status=1)
    assert said["latched"] and "not running: the latch holds when it starts" in said["message"]
    stopped_ns = time.monotonic_ns()
    fleet.again()
    fleet.wait_for(lambda now: stopped(now) and robot(now, "arm")["estop"]["confirmed"], 60)
    assert fleet.written(stopped_ns) == []
    release_and_judge(fleet)


def test_a_stop_of_a_fleet_with_keys_is_lifted_with_the_operators_key(
    start_arm: StartArm, tmp_path: Path
) -> None:
    """Everybody may stop; to release takes the secret half of an operator's key."""
    ring = tmp_path / "keys"
    for name, role in (
        ("broker", Role.BROKER),
        ("hold/0", Role.REPLICA),
        ("arm", Role.ROBOT),
        ("operator", Role.OPERATOR),
    ):
        new_key(name, role, ring)
    secret = tmp_path / "operator.key"
    (ring / "operator.key").rename(secret)
    fleet = start_arm({"creep": 0.02}, fleet={"security": {"keys": str(ring)}})
    estop(fleet)
    stopped_ns = time.monotonic_ns()
    refused = estop(fleet, "--release", status=1)
    assert refused["latched"] and "operator's secret key" in refused["message"]
    wrong = estop(fleet, "--release", "--key", str(ring / "arm.key"), status=1)
    assert wrong["latched"]
    assert fleet.written(stopped_ns) == []
    release_and_judge(fleet, "--key", str(secret))


PARKING_ARM = """
from fake_arm import FakeArm

class ParkingArm(FakeArm):
    steps = 0

    def safe_stop(self):
        self.steps += 1
        self._note("park")
        return self.steps > 20_000
"""


def test_a_stop_ends_the_parking_of_a_fleet_that_is_being_stopped(
    start_arm: StartArm, tmp_path: Path
) -> None:
    """The driver looks at the latch at every step of the way; then it ends as it is."""
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "parking_arm.py").write_text(PARKING_ARM)
    safety = {"at_stop": "park", "safe_stop_timeout_s": 120.0}
    fleet = start_arm({}, driver="parking_arm:ParkingArm", safety=safety)
    fleet.interrupt()
    wait_until(lambda: len(fleet.rows("park")) > 5)
    estop(fleet)
    (hold,) = fleet.rows("hold")
    fleet.wait(60)
    assert len(fleet.rows("park")) < 5000, "neither the way nor the time for it was over"
    assert [row for row in fleet.rows("park") if row["at_ns"] > hold["at_ns"]] == []
    assert latch.engaged(state_dir("arm"), "arm") is not None


def _driver_lives() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(runtime_base() / "arm" / "arm.driver"))
        except OSError:
            return False
    return True

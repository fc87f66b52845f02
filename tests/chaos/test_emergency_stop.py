"""`actorctl estop` on a fleet whose arm writes down all that is done to it, seen from outside."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import statistics
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.actors.driver import emergency_stop, latch
from holdfast.actors.runtime import robots_file
from holdfast.actors.runtime.runtime_dir import runtime_base, state_dir
from holdfast.tests.chaos import test_fake_arm as arms
from holdfast.tests.chaos.conftest import actor, robot
from holdfast.tests.chaos.test_fake_arm import ArmFleet, first_after, kill_and_await, near
from holdfast.tests.e2e.conftest import BIN
from holdfast.tests.waiting import wait_until
from holdfast.transport.keys import Role
from holdfast.transport.keys import new as new_key

pytestmark = pytest.mark.timeout(600)

start_arm = arms.start_arm
StartArm = Callable[..., ArmFleet]
PERIOD_NS = round(1e9 / arms.FPS)


def estop(fleet: ArmFleet, *words: str, status: int = 0) -> dict[str, Any]:
    """What `actorctl estop` says about the arm. It waits a second for the device: on a busy machine
    it may have to be asked again."""
    until_s = time.monotonic() + 60
    while (done := fleet.actorctl("estop", "arm", "--json", *words)).returncode != status:
        assert time.monotonic() < until_s, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def stopped(status: dict[str, Any]) -> bool:
    return bool(status) and robot(status, "arm")["state"] == "STOPPED"


def release_and_judge(fleet: ArmFleet, *words: str) -> None:
    """A hand moves the arm; once it is released it is commanded from where it is."""
    fleet.move_by_hand(0.75)
    released_ns = time.monotonic_ns()
    assert not estop(fleet, "--release", *words)["latched"]
    command, pose = first_after(fleet, released_ns)
    assert near(command, pose), f"{command} from {pose}"
    status = fleet.streaming()
    assert robot(status, "arm")["estop"] is None


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


def test_a_stop_acts_within_one_period_of_the_driver(start_arm: StartArm) -> None:
    """From the call to the device's `hold`, of 20 in a row; nothing is commanded after it."""
    fleet = start_arm({"creep": 0.02}, safety={"max_offline_s": 60.0})
    known = robots_file.find("arm")
    took_ns: list[int] = []

    def within_a_period() -> bool:
        """Stop and release once more; whether the median of the last 20 is below a period. On a
        busy machine it is once the machine has been quiet for so long."""
        began_ns = time.monotonic_ns()
        assert emergency_stop.stop(known, ["arm"], patience_s=60.0)[0].confirmed
        hold = next(row for row in fleet.rows("hold") if row["at_ns"] > began_ns)
        took_ns.append(hold["at_ns"] - began_ns)
        assert fleet.written(hold["at_ns"]) == []
        assert emergency_stop.release(known, ["arm"], patience_s=60.0)[0].done
        fleet.commanded()
        return len(took_ns) >= 20 and statistics.median(took_ns[-20:]) < PERIOD_NS

    wait_until(within_a_period, "a median within a period", within_s=200.0, every_s=0)
    print(
        f"from the call to the device: median {statistics.median(took_ns) / 1e6:.2f} ms, "
        f"max {max(took_ns) / 1e6:.2f} ms, n = {len(took_ns)}"
    )


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


def test_a_driver_that_stands_still_stops_as_soon_as_it_runs(start_arm: StartArm) -> None:
    """The stop says that it is not confirmed; what was commanded meanwhile is never obeyed."""
    rules = {"driver": {"hang_timeout_s": 120}}
    fleet = start_arm({"creep": 0.02}, {"supervision": {"rules": rules}})
    pid = actor(fleet.status(), "arm/driver")["pid"]
    os.kill(pid, signal.SIGSTOP)
    frozen_ns = time.monotonic_ns()
    said = estop(fleet, status=1)
    assert said["latched"] and not said["confirmed"] and "did not answer" in said["message"]
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: fleet.rows("hold"))
    assert len(fleet.written(frozen_ns)) <= 1, "one that was under way"
    assert estop(fleet)["confirmed"]
    release_and_judge(fleet)


def test_a_silent_bus_is_a_stop_that_is_not_confirmed_until_it_answers(
    start_arm: StartArm,
) -> None:
    """The status and the exit status say so; the hold comes with the bus."""
    fleet = start_arm({"creep": 0.02})
    fleet.journal.with_name("unplugged").touch()
    fleet.wait_for(lambda now: "the bus is silent" in robot(now, "arm")["reason"], 60)
    said = estop(fleet, status=1)
    assert said["latched"] and "the bus is silent" in said["message"]
    unconfirmed = "HAS NOT CONFIRMED IT"
    fleet.wait_for(lambda now: stopped(now) and unconfirmed in robot(now, "arm")["reason"], 60)
    stopped_ns = time.monotonic_ns()
    fleet.journal.with_name("unplugged").unlink()
    fleet.wait_for(lambda now: stopped(now) and robot(now, "arm")["estop"]["confirmed"], 60)
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


def test_a_latch_whose_file_is_removed_by_hand_stays(start_arm: StartArm) -> None:
    """The driver that runs writes it again: only a release lifts it."""
    fleet = start_arm({"creep": 0.02})
    estop(fleet)
    stopped_ns = time.monotonic_ns()
    file = state_dir("arm") / "estop" / "arm"
    file.unlink()
    wait_until(file.exists)
    assert fleet.written(stopped_ns) == []
    release_and_judge(fleet)


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


def test_a_key_in_top_stops_the_robots_and_the_view_says_so(start_arm: StartArm) -> None:
    """`e`, also while the supervisor stands still."""
    fleet = start_arm({"creep": 0.02})
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    top = subprocess.Popen(
        [BIN / "actorctl", "top"], stdin=slave, stdout=slave, stderr=subprocess.DEVNULL
    )
    seen = b""

    def shows(words: bytes) -> bool:
        nonlocal seen
        while select.select([master], [], [], 0)[0]:
            seen += os.read(master, 65536)
        return words in seen

    try:
        wait_until(lambda: shows(b"e stops all robots"))
        os.kill(fleet.process.pid, signal.SIGSTOP)
        os.write(master, b"e")
        wait_until(lambda: fleet.rows("hold"))
        os.kill(fleet.process.pid, signal.SIGCONT)
        wait_until(lambda: shows(b"arm stopped, confirmed by the device"))
        wait_until(lambda: shows(b"EMERGENCY STOP: arm"))
        top.send_signal(signal.SIGINT)
        wait_until(lambda: shows(b"") and top.poll() is not None)
    finally:
        os.kill(fleet.process.pid, signal.SIGCONT)
        top.kill()
        top.wait()
        os.close(master)
        os.close(slave)  # until here: a terminal without a user cannot be read
    release_and_judge(fleet)


def test_a_program_stops_and_releases_as_the_command_line_does(start_arm: StartArm) -> None:
    """Who did it, and why, stands in the status."""
    fleet = start_arm({"creep": 0.02})
    wait_until(lambda: stop_by_program().confirmed)
    words = "stopped by the light curtain"
    fleet.wait_for(lambda now: stopped(now) and words in robot(now, "arm")["reason"], 60)
    with pytest.raises(ValueError, match="needs the names"):
        holdfast.release_emergency_stop()
    (outcome,) = holdfast.release_emergency_stop("arm", fleet="arm")
    assert outcome.done and not outcome.latched
    fleet.streaming()


def stop_by_program() -> holdfast.StopOutcome:
    (outcome,) = holdfast.emergency_stop("arm", by="the light curtain", why="broken")
    return outcome


def _driver_lives() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(runtime_base() / "arm" / "arm.driver"))
        except OSError:
            return False
    return True

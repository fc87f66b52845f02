"""`actorctl estop` and its release, on one fleet whose arm writes down all that is done to it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from functools import partial

import pytest

import holdfast
from holdfast.actors.driver import emergency_stop, latch
from holdfast.actors.runtime import robots_file
from holdfast.actors.runtime.runtime_dir import state_dir
from holdfast.tests.chaos.arm_fleet import (
    ArmFleet,
    arm_fleet,
    estop,
    release_and_judge,
    stopped,
)
from holdfast.tests.chaos.conftest import actor, robot
from holdfast.tests.e2e.conftest import BIN
from holdfast.tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmFleet]:
    """One fleet for all tests, which leave it as they found it. Its driver may stand still, and no
    spare process comes while it runs."""
    supervision = {"spares": 0, "rules": {"driver": {"hang_timeout_s": 300}}}
    folder = tmp_path_factory.mktemp("arm")
    with arm_fleet(folder, {"creep": 0.02}, {"supervision": supervision}) as fleet:
        yield fleet


@pytest.fixture
def fleet(shared: ArmFleet) -> ArmFleet:
    """Its arm is commanded."""
    shared.streaming()
    shared.commanded()
    return shared


def test_a_stop_acts_within_one_period_of_the_driver(fleet: ArmFleet) -> None:
    """Once its latch is engaged, one command that was under way is the last, of 10 stops."""
    known = robots_file.find("arm")
    for _ in range(10):
        began_ns = time.monotonic_ns()
        latch.engage(state_dir("arm"), "arm", "anna", "a hand in the cell")
        engaged_ns = time.monotonic_ns()
        hold = wait_until(partial(fleet.held, began_ns))[0]
        assert emergency_stop.stop(known, ["arm"], patience_s=60.0)[0].confirmed
        assert len(fleet.written(engaged_ns)) <= 1
        assert fleet.written(hold["at_ns"]) == []
        assert emergency_stop.release(known, ["arm"], patience_s=60.0)[0].done
        fleet.commanded()


def test_a_driver_that_stands_still_stops_as_soon_as_it_runs(fleet: ArmFleet) -> None:
    """The stop says that it is not confirmed; what was commanded meanwhile is never obeyed."""
    pid = actor(fleet.status(), "arm/driver")["pid"]
    os.kill(pid, signal.SIGSTOP)
    frozen_ns = time.monotonic_ns()
    said = estop(fleet, status=1)
    assert said["latched"] and not said["confirmed"] and "did not answer" in said["message"]
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: fleet.held(frozen_ns))
    assert len(fleet.written(frozen_ns)) <= 1, "one that was under way"
    assert estop(fleet)["confirmed"]
    release_and_judge(fleet)


def test_a_silent_bus_is_a_stop_that_is_not_confirmed_until_it_answers(
    fleet: ArmFleet,
) -> None:
    """The status and the exit status say so; the hold comes with the bus."""
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


def test_a_latch_whose_file_is_removed_by_hand_stays(fleet: ArmFleet) -> None:
    """The driver that runs writes it again: only a release lifts it."""
    estop(fleet)
    stopped_ns = time.monotonic_ns()
    file = state_dir("arm") / "estop" / "arm"
    file.unlink()
    wait_until(file.exists)
    assert fleet.written(stopped_ns) == []
    release_and_judge(fleet)


def test_a_key_in_top_stops_the_robots_and_the_view_says_so(fleet: ArmFleet) -> None:
    """`e`, also while the supervisor stands still."""
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
        pressed_ns = time.monotonic_ns()
        os.write(master, b"e")
        wait_until(lambda: fleet.held(pressed_ns))
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


def test_a_program_stops_and_releases_as_the_command_line_does(fleet: ArmFleet) -> None:
    """Who did it, and why, stands in the status."""
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

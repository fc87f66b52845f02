"""A fleet with an SO-101, driven by the unmodified LeRobot library over a pseudo-terminal: whatever
happens to its processes and its bus, its torque stays on and it does not jump."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.policy.synthetic import ConstantPolicy, write_spec
from holdfast.tests.chaos.conftest import ChaosFleet, actor, robot
from holdfast.tests.chaos.wave import FPS, NAMES, SPEC
from holdfast.tests.feetech.so101 import JOINTS, RANGES, So101, Write
from holdfast.tests.feetech.sts3215 import GOAL, TORQUE
from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.waiting import wait_until

MAX_RATE = 120.0
TICK_S = 1 / FPS
FLOW_S = 0.3
STEPS = [4095 / 360] * 5 + [(RANGES[5][1] - RANGES[5][0]) / 100]
"""Of each motor, in one unit of its actions."""
ROUNDING = 2

pytestmark = [pytest.mark.timeout(600)]


class So101Fleet(ChaosFleet):
    """The fleet, its arm, and the policy that a script serves."""

    arm: So101
    script: subprocess.Popen[bytes] | None = None

    def goals(self, since_ns: int = 0) -> list[Write]:
        return self.arm.written(GOAL, since_ns)

    def moving(self, within_s: float = 60.0) -> int:
        """Wait until the arm is commanded (again); the instant of the first command."""
        since_ns = time.monotonic_ns()
        wait_until(lambda: len(self.goals(since_ns)) > 60, "it is commanded", within_s, 0.1)
        return self.goals(since_ns)[0].at_ns

    def jumps(self) -> list[str]:
        """The commands that are further from the one before than the arm may go in the time since,
        or, after a pause, further from where the arm was than in one tick.

        A busy machine brings a command to the bus late, at most as late as the one before it is
        old, and the next one in time: the time counts from the last but one."""
        found = []
        for motor, unit in enumerate(STEPS, 1):
            goals = [goal for goal in self.goals() if goal.motor == motor]
            step = MAX_RATE * TICK_S * unit
            for before, last, goal in zip(goals, goals[1:], goals[2:], strict=False):
                passed_s = (goal.at_ns - last.at_ns) / 1e9
                flows = passed_s < FLOW_S
                start = last.value if flows else goal.present
                ticks = max(1, round((goal.at_ns - before.at_ns) / 1e9 / TICK_S)) if flows else 1
                if abs(goal.value - start) > step * ticks + ROUNDING:
                    found.append(
                        f"{JOINTS[motor - 1]}: {start} to {goal.value} (at {goal.present}), "
                        f"{passed_s:.3f} s after {last.value}; a step is {step:.0f}"
                    )
        return found

    def end(self) -> None:
        if self.script is not None:
            self.script.send_signal(signal.SIGINT)
            self.script.wait(60)
        super().end()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[So101Fleet]:
    """A fleet that swings the arm, which was found limp."""
    python = interpreter_of("lerobot-0.6")
    with So101(tmp_path / "dev") as arm:
        arm.calibration(tmp_path / "calibration", "left")
        write_spec(tmp_path / "policy", SPEC)
        held = ConstantPolicy(tmp_path / "policy")
        values: dict[str, Any] = {
            "name": "so101",
            "services": {"wave": {"policy": "constant", "checkpoint": "policy"}},
            "robots": [
                {
                    "name": "arm",
                    "driver": "lerobot",
                    "python": str(python),
                    "options": {
                        "type": "so101_follower",
                        "id": "left",
                        "port": str(arm.port),
                        "calibration_dir": str(tmp_path / "calibration"),
                        "use_degrees": True,
                    },
                    "limits": {name: {"max_rate": MAX_RATE} for name in NAMES},
                    "service": "wave",
                    "fps": FPS,
                    "plan": {"trim": "time"},
                }
            ],
            "gateway": {"enabled": False},
        }
        (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(values))
        there = {"PYTHONPATH": str(importable(tmp_path / "importable"))}
        started = So101Fleet(tmp_path / "fleet.yaml", tmp_path, environment=there)
        started.name, started.arm = "so101", arm
        try:
            started.streaming()
            started.script = subprocess.Popen(
                [sys.executable, "-P", Path(__file__).with_name("wave.py"), held.checkpoint_hash],
                env=started.environment,
            )
            started.wait_for(lambda status: "wave/wave" in str(status), 60)
            started.actorctl("stop", "wave/0")  # which holds; the script goes on
            started.wait_for(lambda status: robot(status, "arm")["state"] == "STREAMING", 60)
            started.moving()
            yield started
        finally:
            started.end()


def pass_s(seconds: float) -> None:
    """Let the fleet run for so long."""
    until_s = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until_s, within_s=seconds + 10)


@pytest.mark.slow
def test_an_arm_whose_bus_is_cut_for_two_seconds_goes_on_without_a_person(
    fleet: So101Fleet,
) -> None:
    """The driver attaches again, commands go on without a jump, and the torque is never touched."""
    pid = actor(fleet.status(), "arm/driver")["pid"]
    torques = len(fleet.arm.written(TORQUE))
    fleet.arm.unplug()
    pass_s(2)
    fleet.arm.plug()
    first_ns = fleet.moving()

    def swings() -> bool:
        pans = [goal.value for goal in fleet.goals(first_ns) if goal.motor == 1]
        return max(pans) - min(pans) > 60 * STEPS[0]

    wait_until(swings, "it swings as before", every_s=0.2)
    status = fleet.wait_for(
        lambda now: (
            robot(now, "arm")["state"] == "STREAMING"
            and actor(now, "arm/driver")["report"]["outages"] >= 1
        ),
        60,
    )
    assert actor(status, "arm/driver")["pid"] == pid
    assert fleet.jumps() == []
    assert len(fleet.arm.written(TORQUE)) == torques


def test_whatever_is_killed_or_stopped_the_torque_stays_and_nothing_jumps(
    fleet: So101Fleet,
) -> None:
    """SIGKILL and SIGSTOP of driver, control, both: torque never 0, first command within a step."""
    actors = ("arm/driver", "arm/control")
    for what in (signal.SIGKILL, signal.SIGSTOP):
        for hit in ([actors[0]], [actors[1]], list(actors)):
            status = fleet.status()
            pids = [actor(status, name)["pid"] for name in hit]
            for pid in pids:
                os.kill(pid, what)
            if what == signal.SIGSTOP:
                pass_s(3)
                for pid in pids:
                    # The supervisor may have ended it: it did not make progress.
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
            fleet.moving()
            assert fleet.jumps() == [], (what, hit)
            assert [w for w in fleet.arm.written(TORQUE) if w.value != 1] == [], (what, hit)
    assert fleet.arm.torques == (1,) * len(JOINTS)
    fleet.interrupt()
    fleet.wait(60)
    assert fleet.arm.torques == (1,) * len(JOINTS), "at_stop: hold"

"""The driver of a simulated robot: what it publishes, and how it ends."""

from __future__ import annotations

import gc
import time

import numpy as np

from holdfast.actors.driver import registers
from holdfast.actors.driver.driver import DriverActor
from holdfast.actors.driver.registers import CommandKind, DriverPhase, RobotCommand
from holdfast.actors.driver.wake import Waker
from holdfast.actors.runtime.actor import EXIT_CRASHED, boot_in_memory
from holdfast.actors.runtime.link_messages import ExitReason
from holdfast.tests.actors.simulated_driver import SEGMENTS, driven, said, scene_in
from holdfast.tests.waiting import wait_until
from holdfast.transport.seqlock import Seqlock


def test_a_driver_that_has_ended_leaves_nothing_frozen(simulated: dict[str, object]) -> None:
    """What a program that goes on in its process had then is collected again."""
    with driven(simulated):
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()


def test_a_simulated_robot_lives_on_without_commands(
    simulated: dict[str, object],
) -> None:
    """The belt goes on in real time and the arm holds."""
    with driven(simulated) as (_, memory):
        first = scene_in(memory)
        wait_until(lambda: scene_in(memory).steps >= first.steps + 24, "the belt's steps")
        later = scene_in(memory)
        assert later.travel > first.travel
        assert np.allclose(later.position, first.position, atol=1e-9)
        state = said(memory)
        assert state is not None and state.phase is DriverPhase.ATTACHED
        assert state.episode is not None and state.episode.task == later.task


def test_a_simulated_arm_follows_its_commands(simulated: dict[str, object]) -> None:
    """Each is a step from the last one; the state comes back by the register."""
    target = np.array([0.1, 0.1, 0.2, 0.0, 0.5], np.float32)
    with driven(simulated) as (_, memory):
        register, waker = Seqlock(memory["r/command"], writable=True), Waker(str(simulated["wake"]))
        wait_until(lambda: said(memory))
        sequence = 0

        def there() -> bool:
            nonlocal sequence
            sequence, now_ns = sequence + 1, time.monotonic_ns()
            deadline_ns, kind = now_ns + 10**9, CommandKind.ACTION
            command = RobotCommand(1, sequence, now_ns, deadline_ns, kind, target)
            register.write(registers.pack_command(command))
            waker.wake()
            state = said(memory)
            assert state is not None
            return bool(np.allclose(state.state[:5], target, atol=0.01))

        wait_until(there)
        state = said(memory)
        assert state is not None and state.phase is DriverPhase.ENABLED and not state.refused
        waker.close()


def test_a_rest_that_fails_ends_the_driver_with_the_reason(
    simulated: dict[str, object],
) -> None:
    """The log, the supervisor and the exit code say that the torque is still on."""
    config = simulated | {"at_stop": "torque_off"}
    boot, link, supervisor = boot_in_memory("driver", "r/driver", config, SEGMENTS)
    supervisor.command("stop", id=1)
    assert DriverActor(boot, link).main() == EXIT_CRASHED
    said = supervisor.messages()[0][-1]
    assert isinstance(said, ExitReason)
    assert said.reason.startswith("the torque is not off: release: SimRobot cannot cut the torque")
    supervisor.close()
    link.close()

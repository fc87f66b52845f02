"""The robot of a control loop: the client of its driver, or the driver itself."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from holdfast.actors.control import drivers
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.driver_client import DriverClient
from holdfast.actors.driver import registers
from holdfast.actors.driver.registers import CommandKind, DriverPhase, RobotCommand, RobotState
from holdfast.actors.runtime.device_configs import SpecConfig
from holdfast.actors.runtime.status_board import BOARD_SIZE, StatusBoard, StatusBoardReader
from holdfast.errors import RefusedError
from holdfast.robot.base import Episode, RobotSpec
from holdfast.transport.seqlock import Seqlock, SteadyReader

SPEC = RobotSpec(("a", "b"), ("a", "b", "c"))
TICK_NS = 20_000_000


def config(**fields: Any) -> ControlConfig:
    return ControlConfig(robot="r1", service="pick", endpoint="", plan="r1/plan", **fields)


def unused(name: str) -> Any:
    raise AssertionError(f"segment {name} is not this driver's")


class Ends:
    """A client, and the driver's ends of its two registers."""

    def __init__(self, incarnation: int = 1) -> None:
        state = mmap.mmap(-1, Seqlock.size_for(registers.state_bytes(3)))
        command = mmap.mmap(-1, Seqlock.size_for(registers.command_bytes(2)))
        self.state = Seqlock(state)
        self._commands = Seqlock(command, writable=False)
        self.now_ns = 1000
        self.client = DriverClient(
            SPEC,
            SteadyReader(state),
            Seqlock(command),
            "/nonexistent/driver",
            incarnation,
            TICK_NS,
            lambda: self.now_ns,
        )
        self._commands = Seqlock(command, writable=False)
        self.out = np.zeros(3, np.float32)

    def say(self, measured_ns: int, phase: DriverPhase, **fields: Any) -> None:
        values = np.full(3, measured_ns, np.float32)
        incarnation = fields.pop("incarnation", 1)
        said = RobotState(incarnation, measured_ns, measured_ns, phase, values, **fields)
        self.state.write(registers.pack_state(said))

    def read(self) -> int:
        return self.client.read_state(self.out)

    @property
    def commanded(self) -> RobotCommand:
        block = self._commands.read()
        assert block is not None
        return registers.unpack_command(block, 2)


def test_a_boot_without_the_registers_of_a_driver_is_refused() -> None:
    """The refusal names the robot and what the boot lacks."""
    with pytest.raises(RefusedError, match="robot r1: the boot names no spec, state"):
        drivers.create(config(), unused, unused, 1)


def test_a_driver_in_process_is_made_with_its_options_and_the_limits_of_the_file() -> None:
    """It is called directly, and looks at the emergency stop of its robot."""
    limited = RobotSpec(("x",), ("x",), upper=(3.0,))
    given = config(
        in_process=True,
        driver="holdfast.tests.robots.fake_arm:FakeArm",
        options={"joints": ["x"]},
        spec=SpecConfig.of(limited),
    )
    robot = drivers.create(given, unused, unused, 1)
    assert robot.spec.upper == (3.0,)
    robot.connect()
    assert robot.at_rest
    robot.write_action(np.array([0.5], np.float32))
    assert (robot.at_rest, robot.trouble) == (False, "")


def test_a_driver_in_process_that_cannot_be_made_is_refused_with_the_reason() -> None:
    """RefusedError names the robot, the driver and why it cannot be imported."""
    given = config(in_process=True, driver="no_such_module:Arm")
    with pytest.raises(RefusedError, match="robot r1: driver 'no_such_module:Arm' cannot be imp"):
        drivers.create(given, unused, unused, 1)


def test_a_client_reads_what_the_driver_said_last() -> None:
    """State, instant and episode; before the first state it reads the instant 0."""
    ends = Ends()
    assert (ends.read(), ends.client.episode()) == (0, None)
    ends.say(7, DriverPhase.ENABLED, episode=Episode(4, "stack"))
    assert ends.read() == 7
    assert ends.out.tolist() == [7, 7, 7]
    assert ends.client.episode() == Episode(4, "stack")
    assert (ends.client.at_rest, ends.client.trouble) == (False, "")


def test_every_tick_writes_a_command_of_the_next_sequence_with_a_deadline() -> None:
    """The driver is told what to do, or that the loop lives; an absent one costs nothing."""
    ends = Ends(incarnation=3)
    acts: list[tuple[Callable[[], object], CommandKind]] = [
        (lambda: ends.client.write_action(np.array([1, 2], np.float32)), CommandKind.ACTION),
        (ends.client.idle, CommandKind.ALIVE),
        (ends.client.safe_stop, CommandKind.PARK),
    ]
    for sequence, (act, kind) in enumerate(acts, 1):
        ends.say(7, DriverPhase.ENABLED)
        act()
        said = ends.commanded
        assert (said.incarnation, said.sequence, said.kind) == (3, sequence, kind)
        assert (said.instant_ns, said.deadline_ns) == (1000, 1000 + 2 * TICK_NS)
        assert said.action.tolist() == ([1, 2] if kind is CommandKind.ACTION else [0, 0])


def test_a_robot_that_cannot_be_commanded_says_why() -> None:
    """A closed device and an emergency stop are trouble; a refused command is not."""
    ends = Ends()
    ends.say(7, DriverPhase.OPENING, reason="no such port")
    ends.read()
    assert ends.client.trouble == "the robot's device is not open: no such port"
    ends.say(8, DriverPhase.STOPPED, reason="stopped by anna")
    ends.read()
    assert (ends.client.trouble, ends.client.refusal) == ("stopped by anna", "")
    ends.say(9, DriverPhase.ATTACHED, reason="a: 3 is 2 away")
    ends.read()
    assert (ends.client.trouble, ends.client.refusal) == ("", "a: 3 is 2 away")


def test_another_process_of_the_driver_is_trouble_for_one_tick() -> None:
    """What was commanded in between is lost: the plan is void, and nothing else."""
    ends = Ends()
    ends.say(7, DriverPhase.ENABLED)
    ends.read()
    ends.say(8, DriverPhase.ATTACHED, incarnation=2)
    ends.read()
    assert "started again" in ends.client.trouble and ends.client.at_rest
    ends.read()
    assert not ends.client.trouble and ends.client.at_rest


def test_a_loop_that_took_over_finds_a_driver_that_was_started_again() -> None:
    """Both were killed: the plan is void. A first loop has none; an unchanged driver voids none."""
    for incarnation, phase, trouble in (
        (1, DriverPhase.ATTACHED, False),
        (2, DriverPhase.ATTACHED, True),
        (2, DriverPhase.ENABLED, False),
    ):
        ends = Ends(incarnation)
        ends.say(7, phase, incarnation=incarnation)
        ends.read()
        assert bool(ends.client.trouble) is trouble


def test_a_robot_is_parked_when_its_driver_says_so_or_has_no_robot() -> None:
    """`safe_stop` is true in each phase in which the driver parks no more."""
    for phase, done in (
        (DriverPhase.ENABLED, False),
        (DriverPhase.PARKING, False),
        (DriverPhase.PARKED, True),
        (DriverPhase.STOPPED, True),
        (DriverPhase.OPENING, True),
    ):
        ends = Ends()
        ends.say(7, phase)
        assert ends.client.safe_stop() is done


def test_the_call_that_has_not_returned_is_read_from_the_drivers_board() -> None:
    """Without a board nothing is known of it."""
    assert Ends().client.running_call == ""
    memory = bytearray(BOARD_SIZE)
    StatusBoard(memoryview(memory)).calls("read_state")
    state = SteadyReader(mmap.mmap(-1, Seqlock.size_for(registers.state_bytes(3))))
    command = Seqlock(mmap.mmap(-1, Seqlock.size_for(registers.command_bytes(2))))
    reader = StatusBoardReader(memoryview(memory))
    client = DriverClient(SPEC, state, command, "/nonexistent/driver", 1, TICK_NS, board=reader)
    assert client.running_call == "read_state"
    client.close()

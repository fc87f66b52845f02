"""What a driver obeys, over all its phases, against an independent account of each command."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.actors.driver.core import SILENT_TICKS, DriverCore
from holdfast.actors.driver.registers import CommandKind, DriverPhase, RobotCommand
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.robot.command_limits import FLOW_S

TICK_NS = 20_000_000
STEP = 1.0
GOOD_NS = 2 * TICK_NS
LOWER, UPPER = -50.0, 50.0
FLOW_TICKS = round(FLOW_S * 1e9 / TICK_NS)


class DriverMachine(RuleBasedStateMachine):
    """A driver, its device, the latch, and control loops of which the old ones still write."""

    mode = ControlMode.POSITION

    def __init__(self) -> None:
        super().__init__()
        spec = RobotSpec(
            ("a",), ("a",), self.mode, (LOWER,), (UPPER,), (STEP * 1e9 / TICK_NS,)
        )  # fmt: skip
        self.core = DriverCore(spec, TICK_NS)
        self.now_ns = 10**12
        self.open = self.latched = False
        self.pose = 0.0
        self.incarnation, self.sequence = 1, 0
        self.newest = (0, 0)
        self.not_before_ns = 0
        self.measured = False
        self.written: list[float] = []
        """Since the device was opened, the latch lifted, or the process stood still."""
        self.written_ns = 0
        self.moving = False
        """Commands flow."""
        self.hold_due = False

    @initialize(opened=st.booleans())
    def begins(self, opened: bool) -> None:
        if opened:
            self.the_device_opens()
            self.is_measured()

    @rule(ms=st.integers(0, 60))
    def time_passes(self, ms: int) -> None:
        self.now_ns += ms * 1_000_000
        self._falls_silent()
        assert self.core.must_hold(self.now_ns) is (self.open and self.hold_due)

    @rule()
    def the_device_opens(self) -> None:
        if not self.open:
            self.core.opened(self.now_ns)
            self.open = True
            self._begins_anew()

    @rule()
    def the_device_is_lost(self) -> None:
        if self.open:
            self.core.lost()
            self.open = False

    @rule(by=st.floats(-3, 3))
    def is_moved_by_hand(self, by: float) -> None:
        self.pose = min(max(self.pose + by, LOWER), UPPER)
        self.is_measured()

    @rule()
    def is_measured(self) -> None:
        if self.open:
            self.core.measured(np.array([self.pose], np.float32))
            self.measured = True

    @rule()
    def the_stop_is_engaged(self) -> None:
        self.core.stop()
        self.hold_due |= not self.latched
        self.latched = True

    @rule()
    def the_stop_is_lifted(self) -> None:
        self.core.release(self.now_ns)
        news, self.latched = self.latched, False
        if news:
            self._begins_anew()

    @rule()
    def the_device_holds(self) -> None:
        self._falls_silent()
        if self.core.must_hold(self.now_ns):
            self.core.held()
            self.hold_due = False
            assert not self.core.must_hold(self.now_ns)

    @rule(ms=st.integers(100, 3000))
    def the_process_stands_still(self, ms: int) -> None:
        self.now_ns += ms * 1_000_000
        self.core.stood_still(self.now_ns)
        self.not_before_ns = self.now_ns

    @rule()
    def control_is_started_again(self) -> None:
        self.incarnation += 1
        self.sequence = 0

    @rule(
        kind=st.sampled_from([CommandKind.ACTION] * 6 + [CommandKind.ALIVE, CommandKind.PARK]),
        goal=st.sampled_from(["measured", "last", "far", "nan"]),
        by=st.floats(-1.5, 1.5).filter(lambda x: abs(abs(x) - STEP) > 0.01),
        age_ms=st.sampled_from([0, 0, 0, 5, 39, 41, 500, -5]),
        old=st.sampled_from(["no", "no", "no", "incarnation", "sequence"]),
    )
    def is_commanded(self, kind: CommandKind, goal: str, by: float, age_ms: int, old: str) -> None:
        self.sequence += 1
        name = (self.incarnation, self.sequence)
        if old == "incarnation" and self.incarnation > 1:
            name = (self.incarnation - 1, self.sequence + 1000)
        elif old == "sequence":
            name = (self.incarnation, max(0, self.sequence - 2))
        base = self.written[-1] if goal == "last" and self.written else self.pose
        wanted = {"far": base + 20 * STEP, "nan": np.nan}.get(goal, base + by)
        instant_ns = self.now_ns - age_ms * 1_000_000
        action = np.array([wanted], np.float32)
        command = RobotCommand(*name, instant_ns, instant_ns + GOOD_NS, kind, action)
        dropped = sum(self.core.dropped.values())
        self._falls_silent()
        phase = self.core.phase
        done = self.core.take(command, self.now_ns)
        may = (
            name > self.newest
            and self.open
            and self.measured
            and not self.latched
            and instant_ns >= self.not_before_ns
            and instant_ns <= self.now_ns < instant_ns + GOOD_NS
        )
        self.newest = max(self.newest, name)
        if done is CommandKind.ALIVE:
            obeyed = kind is CommandKind.ALIVE or name <= self.newest
            assert obeyed or sum(self.core.dropped.values()) == dropped + 1
            return
        assert may, f"{done.name} although it was {name}, {age_ms} ms old, in {phase.name}"
        assert done is kind
        if done is CommandKind.PARK:
            self.written_ns, self.moving, self.hold_due = self.now_ns, True, False
            self.written, self.measured = [], False
            return
        value = float(self.core.action[0])
        assert LOWER <= value <= UPPER
        rest = self.pose if self.mode is ControlMode.POSITION else 0.0
        if not self.written:
            assert abs(value - rest) <= STEP * 1.001, "the first command is a step at most"
        else:
            near = min(abs(value - rest), abs(value - self.written[-1]))
            assert near <= FLOW_TICKS * STEP * 1.001
        self.core.written(self.now_ns)
        self.written.append(value)
        self.written_ns = self.now_ns
        self.moving, self.hold_due = True, False
        if self.mode is ControlMode.POSITION:
            self.pose = value
        assert self.core.phase is DriverPhase.ENABLED

    @invariant()
    def the_phase_says_how_it_is(self) -> None:
        phase = self.core.phase
        assert (phase is DriverPhase.OPENING) is not self.open
        assert (phase is DriverPhase.STOPPED) is (self.open and self.latched)

    def _falls_silent(self) -> None:
        """Commands flow no more: the next one is a first one, and a base has to stand still."""
        velocity = self.mode is ControlMode.VELOCITY
        bound_ns = SILENT_TICKS * TICK_NS if velocity else round(FLOW_S * 1e9)
        if self.moving and not self.latched and self.now_ns - self.written_ns > bound_ns:
            self.written, self.moving, self.measured = [], False, False
            self.hold_due |= velocity

    def _begins_anew(self) -> None:
        self.not_before_ns = self.now_ns
        self.written, self.moving, self.measured = [], False, False
        self.hold_due = self.latched or self.mode is ControlMode.VELOCITY


class VelocityDriverMachine(DriverMachine):
    """The same of a base, which goes on moving until it is told zero."""

    mode = ControlMode.VELOCITY


TestDriver = DriverMachine.TestCase
TestDriver.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestVelocityDriver = VelocityDriverMachine.TestCase
TestVelocityDriver.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def commanded(core: DriverCore, sequence: int, now_ns: int, value: float) -> CommandKind:
    action = np.array([value], np.float32)
    kind = CommandKind.ACTION
    return core.take(RobotCommand(1, sequence, now_ns, now_ns + GOOD_NS, kind, action), now_ns)


def driver(mode: ControlMode = ControlMode.POSITION) -> DriverCore:
    """One that is attached at 0."""
    spec = RobotSpec(("a",), ("a",), mode, max_rate=(STEP * 1e9 / TICK_NS,))
    core = DriverCore(spec, TICK_NS)
    core.opened(0)
    core.measured(np.zeros(1, np.float32))
    return core


def test_a_first_command_that_is_too_far_is_refused_with_both_values() -> None:
    """However long the robot waited for it, and as often as it is tried."""
    core = driver()
    for sequence in range(1, 40):
        assert commanded(core, sequence, sequence * TICK_NS, 1.5) is CommandKind.ALIVE
        assert core.phase is DriverPhase.ATTACHED
    assert core.refusal == "a: 1.5 is 1.5 away from where the robot is (0); its max_rate allows 1"
    assert core.dropped == {"step": 39}
    assert commanded(core, 40, 40 * TICK_NS, 0.9) is CommandKind.ACTION
    assert core.refusal == ""


def test_a_base_whose_control_falls_silent_is_told_to_stand_still_after_two_ticks() -> None:
    """Until the device has confirmed it, and once."""
    core = driver(ControlMode.VELOCITY)
    assert commanded(core, 1, TICK_NS, 0.5) is CommandKind.ACTION
    core.written(TICK_NS)
    assert not core.must_hold(3 * TICK_NS)
    assert core.must_hold(3 * TICK_NS + 1) and core.must_hold(10 * TICK_NS)
    assert core.phase is DriverPhase.HOLDING
    core.held()
    assert not core.must_hold(100 * TICK_NS)


def test_a_takeover_of_control_goes_on_from_the_last_command() -> None:
    """The arm trails its command: the measured place refuses no next command."""
    core = driver()

    def act(incarnation: int, n: int, value: float) -> CommandKind:
        command = RobotCommand(
            incarnation, n, n * TICK_NS, 10**12, CommandKind.ACTION, np.array([value], np.float32)
        )
        return core.take(command, n * TICK_NS)

    for n in range(1, 6):
        assert act(1, n, n * 0.9) is CommandKind.ACTION
        core.written(n * TICK_NS)
    assert act(2, 7, 6.0) is CommandKind.ACTION
    assert act(1, 8, 6.0) is CommandKind.ALIVE
    assert core.dropped == {"old": 1}

"""`DriverCore`: what a driver does with its robot, as a machine: when it may be commanded, which
commands it takes, when it has to be brought to rest by itself.

Guarantees: an action is handed out only while the device is open and not stopped, and only if its
command is the newest of the newest incarnation of control, in time, made after the device was
opened or released, and within the robot's limits. The first one after that, or after a silence, is
within one policy step of the measured pose. Pure: instants come from the caller, which calls the
device.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from ...robot.base import ControlMode, RobotSpec
from ...robot.command_limits import FLOW_S, CommandLimits
from .registers import CommandKind, DriverPhase, Floats, RobotCommand

SILENT_TICKS = 2
"""Without a command written, after which zero is commanded to a velocity-controlled robot."""

_MOVING = (DriverPhase.ENABLED, DriverPhase.PARKING)


class CommandDrop(StrEnum):
    """Why a command was not executed. Those that fail the limits are counted by `Refusal` too."""

    OLD = "old"
    """Of an earlier incarnation, overtaken, or made before the robot was opened or released."""
    LATE = "late"
    """Its deadline has passed, or it is from the future."""
    CLOSED = "closed"
    """The device is not open, or was not measured since it was opened or at rest."""
    STOPPED = "stopped"


class DriverCore:
    """One robot's machine. `dropped` counts commands, by `CommandDrop` and `Refusal`."""

    def __init__(self, spec: RobotSpec, tick_ns: int, first_ticks: int = 1) -> None:
        """`first_ticks` is for `CommandLimits`."""
        self._spec = spec
        self._tick_ns = tick_ns
        self._velocity = spec.control_mode is ControlMode.VELOCITY
        self._limits = CommandLimits(spec, tick_ns / 1e9, first_ticks)
        self._measured, self._sources = spec.measured_actions
        self._position = np.full(len(spec.action_names), np.nan, np.float32)
        self._zero = np.zeros(len(spec.action_names), np.float32)
        self._flow_ns = round(FLOW_S * 1e9)
        self.open = False
        self.stopped = False
        """Whether the emergency stop is engaged."""
        self._motion = DriverPhase.ATTACHED
        self._located = False
        self._incarnation = self._sequence = 0
        self._not_before_ns = 0
        self._checked_ns = self._written_ns = 0
        self._hold_due = False
        self._action = self._zero
        self.dropped: dict[str, int] = {}
        self.refused = 0
        self.refusal = ""
        """Why the last action was refused by the limits; empty once one was accepted."""

    @property
    def phase(self) -> DriverPhase:
        if not self.open:
            return DriverPhase.OPENING
        return DriverPhase.STOPPED if self.stopped else self._motion

    def opened(self, now_ns: int) -> None:
        """The device is open, and the robot attached."""
        self.open = True
        self._begin(now_ns)

    def lost(self) -> None:
        """The device failed and is closed."""
        self.open = False

    def stop(self) -> None:
        """The emergency stop was engaged: no command is executed until `release`."""
        if not self.stopped:
            self.stopped, self._hold_due = True, True

    def release(self, now_ns: int) -> None:
        """The emergency stop was lifted: commands made from now on count."""
        if self.stopped:
            self.stopped = False
            self._begin(now_ns)

    def stood_still(self, now_ns: int) -> None:
        """This process did not run for a while: what was commanded before is old."""
        self._not_before_ns = now_ns

    def measured(self, state: Floats) -> None:
        """Where the robot is: `state` [S]. A velocity-controlled one counts as at rest."""
        self._located = True
        if self._velocity:
            self._limits.locate(self._zero)
            return
        self._position[self._measured] = state[self._sources]
        self._limits.locate(self._position)

    def take(self, command: RobotCommand, now_ns: int) -> CommandKind:
        """What to do for `command`: ALIVE is nothing, ACTION is to write `action`, PARK to take a
        step of `safe_stop`."""
        self.must_hold(now_ns)  # first: a command after a silence is the first of a motion
        newest = (self._incarnation, self._sequence)
        if (command.incarnation, command.sequence) <= newest:
            if (command.incarnation, command.sequence) < newest:
                self._drop(CommandDrop.OLD)
            return CommandKind.ALIVE
        self._incarnation, self._sequence = command.incarnation, command.sequence
        if command.kind is CommandKind.ALIVE:
            return CommandKind.ALIVE
        why = self._unfit(command, now_ns)
        if why is not None:
            self._drop(why)
            return CommandKind.ALIVE
        if command.kind is CommandKind.PARK:
            self._first()
            if self._motion is not DriverPhase.PARKED:
                self._motion = DriverPhase.PARKING
            self._written_ns, self._hold_due = now_ns, False
            return CommandKind.PARK
        return self._check(command)

    @property
    def action(self) -> Floats:
        """The action [A] to write after `take` said so, cut to the robot's range."""
        return self._action

    def written(self, now_ns: int) -> None:
        """The action was given to the device."""
        self._written_ns = now_ns
        self._motion = DriverPhase.ENABLED

    def parked(self, there: bool) -> None:
        """A step of `safe_stop` was taken; whether it was the last."""
        if self._motion is DriverPhase.PARKING and there:
            self._motion = DriverPhase.PARKED

    def held(self) -> None:
        """The device has confirmed `hold`."""
        self._hold_due = False

    def must_hold(self, now_ns: int) -> bool:
        """Whether `hold` is to be called now: it was stopped, or is controlled by
        velocity and was commanded, but not lately. Until `held`, in every phase but OPENING."""
        if self._motion in _MOVING and not self.stopped:
            quiet_ns = now_ns - self._written_ns
            if quiet_ns > (SILENT_TICKS * self._tick_ns if self._velocity else self._flow_ns):
                self._rest()
        return self.open and self._hold_due

    def _unfit(self, command: RobotCommand, now_ns: int) -> CommandDrop | None:
        if not self.open or not self._located:
            return CommandDrop.CLOSED
        if self.stopped:
            return CommandDrop.STOPPED
        if command.instant_ns < self._not_before_ns:
            return CommandDrop.OLD
        if not command.instant_ns <= now_ns < command.deadline_ns:
            return CommandDrop.LATE
        return None

    def _check(self, command: RobotCommand) -> CommandKind:
        if self._checked_ns:
            ticks = round((command.instant_ns - self._checked_ns) / self._tick_ns) - 1
            self._limits.missed(max(0, ticks))
        self._checked_ns = command.instant_ns
        action, refusal = self._limits.check(command.action)
        if action is None:
            assert refusal is not None
            self._drop(refusal)
            self.refused += 1
            self.refusal = self._limits.explanation()
            return CommandKind.ALIVE
        self.refusal = ""
        self._hold_due = False
        self._action = action
        return CommandKind.ACTION

    def _begin(self, now_ns: int) -> None:
        self._not_before_ns = now_ns
        self._motion = DriverPhase.ATTACHED
        self._checked_ns = 0
        # A base may still move by a command from before this process, or before the outage.
        self._hold_due = self.stopped or self._velocity
        self._first()

    def _rest(self) -> None:
        self._hold_due = self._hold_due or self._velocity
        self._motion = DriverPhase.HOLDING
        self._first()

    def _first(self) -> None:
        """The next action is the first of a motion: it is judged by a measurement made from now
        on."""
        self._located = False
        self._limits.attach()

    def _drop(self, why: StrEnum) -> None:
        self.dropped[why.value] = self.dropped.get(why.value, 0) + 1

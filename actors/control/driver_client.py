"""`DriverClient`: a robot as its control loop has it, whose driver is another process.

Every call reads or writes shared memory, and returns at once whatever the driver does. The driver
may be absent, restart or stand still: the state then keeps its old instant, and it is for the
loop to judge its age.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from ...robot.base import Episode, Robot, RobotSpec
from ...transport.seqlock import Seqlock, SteadyReader
from ..driver import registers
from ..driver.registers import CommandKind, DriverPhase, RobotCommand, RobotState
from ..driver.wake import Waker
from ..runtime.status_board import StatusBoardReader

MIN_DEADLINE_NS = 25_000_000
DEADLINE_TICKS = 2
"""For so long a command is good, or for MIN_DEADLINE_NS if that is longer."""
_AT_REST = (DriverPhase.OPENING, DriverPhase.STOPPED, DriverPhase.PARKED)


class DriverClient(Robot):
    """One robot over the two registers of its driver. `incarnation` is that of the control actor.
    At every tick one of `write_action`, `safe_stop` and `idle` is called."""

    def __init__(
        self,
        spec: RobotSpec,
        state: SteadyReader,
        command: Seqlock,
        wake: str,
        incarnation: int,
        tick_ns: int,
        clock: Callable[[], int] = monotonic_ns,
        board: StatusBoardReader | None = None,
    ) -> None:
        self.spec = spec
        self._reader = state
        self._register = command
        self._waker = Waker(wake)
        self._incarnation = incarnation
        self._sequence = 0
        self._good_ns = max(DEADLINE_TICKS * tick_ns, MIN_DEADLINE_NS)
        self._clock = clock
        self._board = board
        self._nothing = np.zeros(len(spec.action_names), np.float32)
        self._block: bytes | None = None
        self._said: RobotState | None = None
        self._restarted = False
        """Whether the state last read is the first of another process than the one before."""

    def connect(self) -> None:
        """Nothing to wait for: the driver opens the device, and opens it again."""

    def read_state(self, out: NDArray[np.float32]) -> int:
        """See `Robot.read_state`; 0 before the driver's first measurement."""
        said = self._read()
        if said is None:
            return 0
        out[:] = said.state
        return said.measured_ns

    def write_action(self, action: NDArray[np.float32]) -> None:
        self._write(CommandKind.ACTION, action)

    def idle(self) -> None:
        """There is nothing to command at this tick."""
        self._write(CommandKind.ALIVE, self._nothing)

    def safe_stop(self) -> bool:
        """Ask for a step towards the parked pose; True when the driver says that it is reached, or
        that it has no robot to park."""
        said = self._read()
        if said is None or said.phase in _AT_REST:
            return True
        self._write(CommandKind.PARK, self._nothing)
        return False

    def episode(self) -> Episode | None:
        return self._said.episode if self._said else None

    def ask_episode(self) -> bool:
        """See `PromptRobot.ask_episode`. The request names the attempt that is to end, so that one
        which is repeated begins no further one."""
        board = self._board.report() if self._board is not None else None
        under_way = self.episode()
        if under_way is None or self.trouble or not (board or {}).get("begins_episodes"):
            return False
        self._waker.request({"do": "episode", "after": under_way.number})
        return True

    def hold(self) -> None:
        """A driver holds by itself when nothing is commanded."""
        self.idle()

    @property
    def at_rest(self) -> bool:
        """Whether commands do not flow: the next one has to be within a policy step of where the
        robot is."""
        return self._said is not None and self._said.phase is not DriverPhase.ENABLED

    @property
    def trouble(self) -> str:
        """Why the driver passes no command on; empty if it does."""
        said = self._said
        if self._restarted:
            return "the robot's driver was started again: what was commanded meanwhile is lost"
        if said is None or said.phase not in (DriverPhase.OPENING, DriverPhase.STOPPED):
            return ""
        if said.phase is DriverPhase.OPENING:
            return f"the robot's device is not open: {said.reason or 'its driver opens it'}"
        return said.reason

    @property
    def running_call(self) -> str:
        """The driver's method that has not returned, by the board of its process; empty if none."""
        return self._board.call() if self._board is not None else ""

    @property
    def refusal(self) -> str:
        """Why the driver refused the last command by the robot's limits; empty if it did not."""
        said = self._said
        return said.reason if said is not None and not self.trouble else ""

    @property
    def estop(self) -> None:
        """Nothing: its driver acts on it and reports it."""

    def serve(self) -> None:
        """Nothing to do: see `estop`."""

    def close(self) -> None:
        self._waker.close()

    def _read(self) -> RobotState | None:
        """What the driver said last; None if it has said nothing that can be read."""
        block, before = self._reader.read(), self._said
        self._restarted = False
        if block is None or block == self._block:
            return before
        self._block = block
        try:
            said = self._said = registers.unpack_state(block, len(self.spec.state_names))
        except RobotError:
            self._said = None
            return None
        if before is not None:
            self._restarted = said.incarnation != before.incarnation
        else:  # where there was a loop before this one, there may be a plan
            self._restarted = self._incarnation > 1 and said.phase is DriverPhase.ATTACHED
        return said

    def _write(self, kind: CommandKind, action: NDArray[np.float32]) -> None:
        self._sequence += 1
        now_ns = self._clock()
        command = RobotCommand(
            self._incarnation, self._sequence, now_ns, now_ns + self._good_ns, kind, action
        )
        self._register.write(registers.pack_command(command))
        self._waker.wake()

"""`Handover`: whether a person commands the robot, and what they command at this tick.

Pure over the plan's memory, so that a killed loop goes on as it was: instants come from the caller.

Guarantees: while a person commands, nothing of the plan is played. After every take-over, and after
every silence of the teleoperator, the commanded pose moves over from where the robot is to where
the person wants it within `EASE_S`; the limits bound each step of it besides. A teleoperator that
is silent commands nothing: the robot rests, as while paused.
"""

from __future__ import annotations

import numpy as np

from ...errors import RobotError
from ...transport.seqlock import SteadyReader
from .plan import Floats
from .plan_memory import OFFSET_WORDS, PlanMemory, Word
from .teleop_register import TeleopReading, unpack_reading

EASE_S = 1.0
"""In which the pose goes over from the robot's to the person's: leader and follower are rarely in
the same one, and no limit slows a joint without a `max_rate`."""
SILENT_AFTER_NS = 200_000_000
"""A reading older than this, or than three ticks, is none."""


def taken_over(memory: memoryview) -> bool:
    """Whether a person has taken over, by the robot's plan segment `memory`, as another process
    reads it."""
    at = OFFSET_WORDS + 8 * Word.MANUAL_NS
    return memory.cast("B")[at : at + 8].cast("Q")[0] != 0


class Handover:
    """Of one loop. `reader` is that of the teleoperator's register; None: the robot has none."""

    def __init__(
        self, memory: PlanMemory, reader: SteadyReader | None, actions: int, tick_ns: int
    ) -> None:
        self._words = memory.words
        self._reader = reader
        self._silent_ns = max(SILENT_AFTER_NS, 3 * tick_ns)
        self._block: bytes | None = None
        self._said: TeleopReading | None = None
        self._taken_over: int | None = None
        """How often the button was pressed, as last read."""
        self._since_ns = 0
        """Since when the person's readings have been followed without a break."""
        self._start = np.full(actions, np.nan, np.float32)
        self._pose = np.zeros(actions, np.float32)
        self.reason = ""
        """Why a person who took over commands nothing now; empty if they do."""

    @property
    def possible(self) -> bool:
        """Whether the robot has a teleoperator."""
        return self._reader is not None

    @property
    def manual(self) -> bool:
        """Whether a person has taken over."""
        return self._words[Word.MANUAL_NS] != 0

    def take(self, now_ns: int) -> None:
        """The person takes over."""
        if not self.manual:
            self._words[Word.MANUAL_NS] = now_ns
            self._since_ns = 0

    def give_back(self) -> None:
        """The person no longer commands."""
        self._words[Word.MANUAL_NS] = 0
        self._since_ns = 0
        self.reason = ""

    def pressed(self) -> bool:
        """Whether the take-over button was pressed since the last call: the person takes over, or
        gives back. To be called at every tick."""
        said = self._read()
        if said is None:
            return False
        before, self._taken_over = self._taken_over, said.presses.take_over
        return before is not None and before != said.presses.take_over

    def command(self, position: Floats, now_ns: int) -> Floats | None:
        """What the person commands at this tick, [A], valid until the next call; None for nothing.
        `position` [A] is where the robot is, NaN where that is not known."""
        said = self._read()
        if said is None or now_ns - said.instant_ns > self._silent_ns:
            self._since_ns = 0
            self.reason = (
                "its teleoperator has not said anything yet"
                if said is None
                else f"its teleoperator is silent for {(now_ns - said.instant_ns) / 1e9:.1f} s"
            )
            return None
        self.reason = ""
        if not self._since_ns:
            self._since_ns = now_ns
            self._start[:] = position
        share = min((now_ns - self._since_ns) / (EASE_S * 1e9), 1.0)
        self._pose[:] = said.action
        if share < 1.0:
            known = np.isfinite(self._start)
            np.multiply(self._pose, share, out=self._pose, where=known)
            self._pose[known] += (1.0 - share) * self._start[known]
        return self._pose

    def _read(self) -> TeleopReading | None:
        block = None if self._reader is None else self._reader.read()
        if block is None:
            return None
        if block != self._block:
            self._block = block
            try:
                said = unpack_reading(block, len(self._pose))
            except RobotError:
                self._said = None
            else:
                self._said = said if said.instant_ns else None
        return self._said

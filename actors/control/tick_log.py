"""`TickLog`: what the loop did at each tick, for recorders and monitors.

A ring in shared memory, one writer, any number of readers, beside the plan. The loop writes one
record per tick and never waits for a reader; a reader that does not keep up loses the oldest
records and counts them. A record is read whole or not at all: its first word is 0 while it is
being written and its tick's number plus 1 otherwise, with fences in between.

Does not guarantee: that a tick is in the log. A killed loop leaves out the tick it was in.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...transport.fence import LINE, align, fence
from .plan import Floats, PlannedAction, Provenance
from .plan_memory import Mark

TICK_BYTES = 256 << 10
MAGIC = int.from_bytes(b"hf:ticks", "little")
_WORDS = 11


class _Word(IntEnum):
    NUMBER = 0
    INSTANT_NS = 1
    LATENESS_NS = 2
    FLAGS = 3
    OBSERVED_NS = 4
    SESSION = 5
    SEQ = 6
    EPISODE = 7
    STEP = 8
    OWN_EPISODE = 9
    WAITED_NS = 10


_PLAYED, _COMMANDED, _BEGINS_STEP, _MANUAL, _MOVES = 1, 2, 4, 8, 16

Commander = Literal["policy", "person", "motion", "fallback"]
"""From whom a command is: a policy's chunk, a person or a recording that had taken over, a motion
to a pose (`go-to`, a strategy's way home), or the fallback, which repeats or stops."""


class TickRecord(NamedTuple):
    """One record. `command` [A] is what was written to the robot, None if nothing was; `provenance`
    is that of the policy action it came from, None for the fallback. With interpolation only the
    first command of each policy step `begins_step`. `manual`: a person had taken over; `moves`: it
    went to a pose by itself. `waited_ns`: since the tick before, the loop waited so long for a
    processor (see runtime/processor_wait.py)."""

    number: int
    instant_ns: int
    lateness_ns: int
    episode: int
    state: Floats
    command: Floats | None
    provenance: Provenance | None
    observed_ns: int | None
    begins_step: bool
    manual: bool = False
    waited_ns: int = 0
    moves: bool = False

    @property
    def commander(self) -> Commander | None:
        """Whose command was written; None if none was."""
        if self.command is None:
            return None
        if self.manual:
            return "person"
        if self.moves:
            return "motion"
        return "policy" if self.provenance is not None else "fallback"


def rows_in(size: int, states: int, actions: int) -> int:
    """How many ticks a log of `size` bytes holds."""
    return (size - 4 * LINE) // (8 * _WORDS + 4 * (states + actions))


class StepRows(NamedTuple):
    """What the latest policy steps of one episode began with, oldest first: int64 [n], int64 [n],
    float32 [n, S]."""

    instant_ns: NDArray[np.int64]
    lateness_ns: NDArray[np.int64]
    states: Floats


class _TickRing:
    def __init__(self, memory: memoryview, states: int, actions: int):
        self.rows = rows = rows_in(len(memory), states, actions)
        if rows < 2:
            raise ValueError(
                f"{len(memory)} bytes cannot hold ticks of {states} states and {actions} actions: "
                "need more"
            )
        self.head = memory[:LINE].cast("Q")
        at = LINE
        self.words = np.frombuffer(memory, np.int64, rows * _WORDS, at).reshape(rows, _WORDS)
        at += align(rows * _WORDS * 8)
        self.states = np.frombuffer(memory, np.float32, rows * states, at).reshape(rows, states)
        at += align(rows * states * 4)
        self.commands = np.frombuffer(memory, np.float32, rows * actions, at).reshape(rows, actions)
        self.shape = [states, actions, rows]


class TickLog(_TickRing):
    """The writer. It goes on counting where the one before was killed."""

    def __init__(self, memory: memoryview, states: int, actions: int):
        super().__init__(memory, states, actions)
        if list(self.head[:4]) != [MAGIC, *self.shape]:
            self.head[0] = self.head[4] = 0
            self.words[:, _Word.NUMBER] = 0
            for place, value in enumerate(self.shape):
                self.head[1 + place] = value
            fence()
            self.head[0] = MAGIC
        self._next = self.head[4]
        self._row: NDArray[np.int64] = self.words[0]

    def write(
        self,
        instant_ns: int,
        lateness_ns: int,
        episode: int,
        state: Floats,
        command: Floats | None,
        action: PlannedAction | None,
        begins_step: bool,
        manual: bool = False,
        waited_ns: int = 0,
        moves: bool = False,
    ) -> None:
        """Add one tick; everything is copied."""
        number = self._next
        place = number % self.rows
        row = self.words[place]
        row[_Word.NUMBER] = 0
        fence()
        flags = begins_step * _BEGINS_STEP + manual * _MANUAL + moves * _MOVES
        self.states[place] = state
        if command is not None:
            flags |= _COMMANDED
            self.commands[place] = command
        if action is not None:
            flags |= _PLAYED
            row[_Word.OBSERVED_NS : _Word.OWN_EPISODE] = action.mark[: Mark.INDEX + 1]
        row[_Word.INSTANT_NS] = instant_ns
        row[_Word.LATENESS_NS] = lateness_ns
        row[_Word.FLAGS] = flags
        row[_Word.OWN_EPISODE] = episode
        row[_Word.WAITED_NS] = waited_ns
        fence()
        row[_Word.NUMBER] = number + 1
        self._next = self.head[4] = number + 1

    def newest(self, ticks: int) -> StepRows:
        """Of the last `ticks` ticks those that began a policy step in the newest one's episode.
        Raises ValueError for an empty log."""
        if not self._next:
            raise ValueError("the tick log is empty: write the present tick first")
        numbers = np.arange(max(self._next - min(ticks, self.rows), 0), self._next)
        places = numbers % self.rows
        words = self.words[places]
        kept = (
            (words[:, _Word.NUMBER] == numbers + 1)
            & (words[:, _Word.FLAGS] & _BEGINS_STEP != 0)
            & (words[:, _Word.OWN_EPISODE] == words[-1, _Word.OWN_EPISODE])
        )
        return StepRows(
            words[kept, _Word.INSTANT_NS], words[kept, _Word.LATENESS_NS], self.states[places[kept]]
        )


class TickReader(_TickRing):
    """A reader of its own pace; it needs read access only. `lost` counts what it was too slow for.

    It begins with the ticks to come or, with `after`, with the tick of that number plus 1.

    Raises ValueError when the memory is not (yet) a tick log of this robot's sizes.
    """

    def __init__(
        self, memory: memoryview, states: int, actions: int, after: int | None = None
    ) -> None:
        super().__init__(memory, states, actions)
        if list(self.head[:4]) != [MAGIC, *self.shape]:
            raise ValueError(
                f"no tick log of {states} states and {actions} actions lies here: wait until the "
                "control actor runs, and use its robot's sizes"
            )
        self.lost = 0
        self._next = self.head[4] if after is None else min(after + 1, self.head[4])

    def read(self) -> list[TickRecord]:
        """The ticks since the last call, oldest first."""
        newest = self.head[4]
        oldest = max(newest - self.rows + 1, 0)  # one may be being overwritten
        if self._next < oldest:
            self.lost += oldest - self._next
            self._next = oldest
        found = []
        while self._next < newest:
            tick = self._copy(self._next)
            if tick is None:
                self.lost += 1
            else:
                found.append(tick)
            self._next += 1
        return found

    def _copy(self, number: int) -> TickRecord | None:
        place = number % self.rows
        if self.words[place, _Word.NUMBER] != number + 1:
            return None
        fence()
        row = self.words[place].tolist()
        state, command = self.states[place].copy(), self.commands[place].copy()
        fence()
        if self.words[place, _Word.NUMBER] != number + 1:
            return None
        played, commanded = row[_Word.FLAGS] & _PLAYED, row[_Word.FLAGS] & _COMMANDED
        return TickRecord(
            number=number,
            instant_ns=row[_Word.INSTANT_NS],
            lateness_ns=row[_Word.LATENESS_NS],
            episode=row[_Word.OWN_EPISODE],
            state=state,
            command=command if commanded else None,
            provenance=Provenance(*row[_Word.SESSION : _Word.OWN_EPISODE]) if played else None,
            observed_ns=row[_Word.OBSERVED_NS] if played else None,
            begins_step=bool(row[_Word.FLAGS] & _BEGINS_STEP),
            manual=bool(row[_Word.FLAGS] & _MANUAL),
            moves=bool(row[_Word.FLAGS] & _MOVES),
            waited_ns=row[_Word.WAITED_NS],
        )

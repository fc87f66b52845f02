"""`PlanMemory`: the plan and the counters of a robot, in shared memory that outlives its process.

Guarantees: a process killed at any instruction leaves the plan it had or the plan it was about to
have, whole, and the next one continues with the action after the last that was handed out. What was
written for another robot, by another layout or by something else altogether is refused, not played.

Does not guarantee: anything after a power failure (the memory is gone with the machine), nor that
the last action handed out reached the robot: the cursor moves before the command is written, so
that a kill between the two skips one action and never repeats one.

Layout, native-endian, every part on its own cache lines:

    head      magic, layout version, action size A, capacity C, robot identity (4 words)
    words     one 64-bit word per `Word`: counters and instants, each stored by one instruction
    latency   the ring of request latencies
    lateness  the bins of the tick lateness histogram
    kept      a Seqlock: what the robot was accepted under, its task
    copy 0/1  generation, base, length, checksum; marks [C, 9]; model and robot actions [C, A]

The plan's algorithm. `COMMITTED` names the generation `g` of the plan in force; it lies in copy
`g % 2`, its action `i` is consumed when `CURSOR > base + i`.

1. a merge fills copy `(g+1) % 2`, which nothing refers to, generation, base, length and checksum
   included;
2. fence: the copy is complete before it is named;
3. one store of `g+1` to `COMMITTED`. Nothing else changes: `base` is the cursor of this moment;
4. fence: it is named before the next merge begins to overwrite copy `g % 2`.

Taking an action is one store to `CURSOR`. So each step is one word, and between any two words the
memory is consistent. Only one process may write.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import blake2b
from mmap import mmap
from typing import TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ...errors import PlanError, SeqlockError
from ...transport.fence import LINE, align, fence
from ...transport.seqlock import Seqlock

PLAN_BYTES = 768 << 10
SEGMENT_BYTES = 1 << 20
"""What the supervisor allocates for `<robot>/plan`: the plan, then the tick log (tick_log.py)."""

MAGIC = int.from_bytes(b"hf:plan\0", "little")
LAYOUT = 2
MAX_STEPS = 1024
LATENCY_SLOTS = 128
LATENESS_BINS = 512
_KEPT_BYTES = 48 << 10
"""A contract, and up to four tasks of the longest kind: see contract.py."""
_WORDS = 128
_MARKS = 9
_LAST, _LAST_ON_WIRE = 1 << 62, 1 << 31
"""No count gets there: what is beyond was written by something else."""
_T = TypeVar("_T", bound=np.generic)


class Word(IntEnum):
    """The words of the segment. Instants are monotonic ns, 0 is never; what is not an instant or an
    identity counts up for as long as the fleet runs, over all incarnations. `SESSION` is the id of
    the session of `EPOCH`."""

    COMMITTED = 0
    CURSOR = 1
    EPISODE = 2
    EPOCH = 3
    SEQ = 4
    INCARNATION = 5
    GRID_NS = 6
    COMMAND_NS = 7
    SUPPLIED_NS = 8
    PAUSED_NS = 9
    ROBOT_EPISODE = 10
    TICKS = 11
    MISSED = 12
    MISSED_MACHINE = 13
    MISSED_RESTART = 14
    STALLED = 15
    STALE = 16
    REQUESTS = 17
    MERGES = 18
    RESETS = 19
    MAX_GAP_NS = 20
    LATENCIES = 21
    FALLBACKS = 22
    DRIVER_GAPS = 23
    VOID = 24
    MANUAL_NS = 25
    SESSION = 26
    DROPPED = 32
    REFUSED = 48


class Mark(IntEnum):
    """The columns of `marks`: an action's age and origin. `BLEND_SEQ` 0 means not blended."""

    OBSERVED_NS = 0
    SESSION = 1
    SEQ = 2
    EPISODE = 3
    INDEX = 4
    BLEND_SESSION = 5
    BLEND_SEQ = 6
    BLEND_EPISODE = 7
    BLEND_INDEX = 8


class PlanCopy:
    """One of the two copies of the plan: `length` actions, the first of them numbered `base`.

    Attributes:
        marks: int64 [C, 9], columns as in `Mark`.
        model: float32 [C, A], model space.
        robot: float32 [C, A], robot space.
    """

    def __init__(self, memory: memoryview, steps: int, actions: int):
        self.head = memory[:LINE].cast("q")
        at = LINE
        self.marks: NDArray[np.int64] = _array(memory, at, steps, _MARKS, np.dtype(np.int64))
        at += align(self.marks.nbytes)
        self.model: NDArray[np.float32] = _array(memory, at, steps, actions, np.dtype(np.float32))
        at += align(self.model.nbytes)
        self.robot: NDArray[np.float32] = _array(memory, at, steps, actions, np.dtype(np.float32))

    @staticmethod
    def size_for(steps: int, actions: int) -> int:
        return LINE + align(steps * _MARKS * 8) + 2 * align(steps * actions * 4)

    @property
    def base(self) -> int:
        return self.head[1]

    @property
    def length(self) -> int:
        return self.head[2]

    def checksum(self) -> int:
        """CRC-32 of generation, base, length and the actions that count."""
        n = self.length
        check = crc32(self.head[:3])
        for rows in (self.marks, self.model, self.robot):
            check = crc32(rows[:n].data, check)
        return check


class PlanMemory:
    """The plan and the words of one robot, over `memory`. Formats what does not fit its identity.

    `found` says what the memory held: "nothing", "a plan", or why it was of no use.
    """

    def __init__(self, memory: mmap | bytearray | memoryview, robot: str, actions: int):
        self._memory = memory = memoryview(memory).cast("B")
        at = _OFFSET_COPIES
        steps = min(MAX_STEPS, (len(memory) - at - 4 * LINE) // 2 // (_MARKS * 8 + 8 * actions))
        while steps > 0 and at + 2 * PlanCopy.size_for(steps, actions) > len(memory):
            steps -= 1
        if steps < 1 or actions < 1:
            raise PlanError(
                f"{len(memory)} bytes of shared memory cannot hold a plan of {actions} action "
                f"values: allocate {SEGMENT_BYTES} bytes"
            )
        self.steps = steps
        self.actions = actions
        identity = blake2b(robot.encode(), digest_size=32).digest()
        self._head = memory[:LINE].cast("Q")
        self._expected = [MAGIC, LAYOUT, actions, steps, *memoryview(identity).cast("Q")]
        found = self._inspect()
        if found:
            self._format()
        self.words = memory[OFFSET_WORDS:][: _WORDS * 8].cast("Q")
        self.latency: NDArray[np.int64] = _array(
            memory, _OFFSET_LATENCY, 1, LATENCY_SLOTS, np.dtype(np.int64)
        )[0]
        self.lateness: NDArray[np.int64] = _array(
            memory, _OFFSET_LATENESS, 1, LATENESS_BINS, np.dtype(np.int64)
        )[0]
        self._kept = Seqlock.owned(self._memory[_OFFSET_KEPT:_OFFSET_COPIES])
        size = PlanCopy.size_for(steps, actions)
        self.copies = tuple(
            PlanCopy(memory[at + k * size : at + (k + 1) * size], steps, actions) for k in (0, 1)
        )
        self.found = found or self._recover()

    @classmethod
    def private(cls, robot: str = "robot", actions: int = 7) -> PlanMemory:
        """A plan in this process's own memory, for tests and for scripts that need no restart."""
        return cls(bytearray(SEGMENT_BYTES), robot, actions)

    @property
    def plan(self) -> PlanCopy:
        """The copy in force."""
        return self.copies[self.words[Word.COMMITTED] & 1]

    @property
    def draft(self) -> PlanCopy:
        """The copy that nothing refers to: to be filled, then committed."""
        return self.copies[1 - (self.words[Word.COMMITTED] & 1)]

    def commit(self, length: int) -> PlanCopy:
        """Put the first `length` actions of the draft in force, beginning at the cursor."""
        words, draft = self.words, self.draft
        generation = words[Word.COMMITTED] + 1
        head = draft.head
        head[0], head[1], head[2] = generation, words[Word.CURSOR], length
        head[3] = draft.checksum()
        fence()
        words[Word.COMMITTED] = generation
        fence()
        return draft

    def keep(self, data: bytes) -> None:
        """Keep up to 48 KiB for the next incarnation, in place of what was kept before."""
        self._kept.write(data)

    def recall(self) -> bytes:
        """What was kept last; empty if nothing was, or if it is damaged."""
        try:
            return self._kept.read() or b""
        except SeqlockError:
            return b""

    def _inspect(self) -> str:
        """Why the memory must be formatted, or "" when it is this robot's."""
        names = ("magic", "layout version", "action size", "capacity")
        for name, found, expected in zip(names, self._head, self._expected, strict=False):
            if found != expected:
                return "nothing" if self._head[0] == 0 else f"{name} {found} instead of {expected}"
        if list(self._head[4:8]) != self._expected[4:8]:
            return "the plan of another robot"
        words = self._memory[OFFSET_WORDS:][: _WORDS * 8].cast("Q")
        for place, value in enumerate(words):
            if value > (_LAST_ON_WIRE if place in (Word.EPISODE, Word.EPOCH) else _LAST):
                return f"a word {place} of {value}, which nothing counts up to"
        return ""

    def _format(self) -> None:
        self._head[0] = 0  # killed from here on, the memory counts as holding nothing
        fence()
        self._memory[LINE:_OFFSET_COPIES] = bytes(_OFFSET_COPIES - LINE)
        size = PlanCopy.size_for(self.steps, self.actions)
        for k in (0, 1):
            at = _OFFSET_COPIES + k * size
            self._memory[at : at + LINE] = bytes(LINE)
        for place in range(1, 8):
            self._head[place] = self._expected[place]
        fence()
        self._head[0] = MAGIC

    def _recover(self) -> str:
        """Validate the committed copy; a plan that fails is replaced by an empty one."""
        fault = self._fault()
        if fault:
            self.commit(0)
            return fault
        return "a plan"

    def _fault(self) -> str:
        words, plan = self.words, self.plan
        generation, base, length, checksum = plan.head[:4]
        if words[Word.COMMITTED] == 0:
            return "nothing"
        if generation != words[Word.COMMITTED]:
            return f"copy of generation {generation} where {words[Word.COMMITTED]} was committed"
        if not 0 <= length <= self.steps:
            return f"a plan of {length} steps in room for {self.steps}"
        if not base <= words[Word.CURSOR] <= base + length:
            return f"a cursor at {words[Word.CURSOR]} outside {base} to {base + length}"
        if checksum != plan.checksum():
            return "a plan that fails its checksum"
        if (plan.marks[:length, Mark.EPISODE] != words[Word.EPISODE]).any():
            return "a plan of an earlier episode"
        return ""


def _array(memory: memoryview, at: int, rows: int, columns: int, kind: np.dtype[_T]) -> NDArray[_T]:
    flat = np.frombuffer(memory, kind, rows * columns, at)
    return flat.reshape(rows, columns)


OFFSET_WORDS = LINE
_OFFSET_LATENCY = OFFSET_WORDS + _WORDS * 8
_OFFSET_LATENESS = _OFFSET_LATENCY + LATENCY_SLOTS * 8
_OFFSET_KEPT = _OFFSET_LATENESS + LATENESS_BINS * 8
_OFFSET_COPIES = _OFFSET_KEPT + Seqlock.size_for(_KEPT_BYTES)

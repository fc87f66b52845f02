"""`ChunkBuffer`: the plan. Chunks are merged into it, actions are popped from it, one at a time.

Guarantees: an action is handed out at most once, in order, never after its episode ended and never
when its observation is older than `max_action_age_ns`; the age and the origin are kept per action,
so that new actions do not make old ones look fresh. A chunk counts only as the answer to the one
outstanding snapshot. What cannot be used is dropped and named, and the plan in force stays.
`pop` and `merge` are atomic towards each other and towards a kill (see plan_memory.py).

Does not guarantee: that actions are safe to execute (robot/command_limits.py checks that), or
anything between threads: one thread owns a buffer.

It has no clock and does no I/O: every instant comes from the caller. Its storage is the plan's
memory, allocated once; in the steady state nothing grows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...transport.arrays import all_finite
from .plan import Begin, Drop, Floats, MergeRule, PlannedAction, Snapshot, by_time
from .plan_memory import Mark, PlanMemory, Word


class ChunkBuffer:
    """The plan in `memory`. `dropped` counts are the memory's, by `Drop`."""

    def __init__(self, memory: PlanMemory, max_action_age_ns: int):
        self._memory = memory
        self._words = memory.words
        self._max_age_ns = max_action_age_ns
        self.outstanding: Snapshot | None = None
        self._load()

    def __len__(self) -> int:
        """Actions not yet popped; some may be too old to be, as the next pop will find."""
        return self._length - self._cursor + self._base

    @property
    def cursor(self) -> int:
        """How many actions were ever popped."""
        return self._cursor

    @property
    def last(self) -> Floats | None:
        """The action popped last, in robot space, if it was of the plan in force."""
        position = self._cursor - self._base - 1
        return self._plan.robot[position] if position >= 0 else None

    @property
    def rest(self) -> Floats:
        """The actions not yet popped, in robot space, [steps, A]: a view, until the next merge."""
        return self._plan.robot[self._cursor - self._base : self._length]

    @property
    def episode(self) -> int:
        return self._words[Word.EPISODE]

    @property
    def capacity(self) -> int:
        """The most actions a plan can have."""
        return self._memory.steps

    def pop(self, now_ns: int) -> PlannedAction | None:
        """The next action, or None when there is none that may be played."""
        position = self._cursor - self._base
        if position >= self._length:
            return None
        if self._observed_ns[position] < now_ns - self._max_age_ns:
            self.expire(now_ns)
            position = 0
            if not self._length:
                return None
        self._cursor += 1
        self._words[Word.CURSOR] = self._cursor
        plan = self._plan
        return PlannedAction(plan.robot[position], plan.model[position], plan.marks[position])

    def age_ns(self, now_ns: int) -> int | None:
        """How old the observation is that the next action was made from; None without a plan."""
        position = self._cursor - self._base
        return None if position >= self._length else now_ns - int(self._observed_ns[position])

    def expire(self, now_ns: int) -> int:
        """Drop the actions at the front that are too old to play; return how many."""
        position, oldest_ns = self._cursor - self._base, now_ns - self._max_age_ns
        stale = 0
        while position + stale < self._length and self._observed_ns[position + stale] < oldest_ns:
            stale += 1
        if stale:
            self._keep(position + stale, self._length)
            self._words[Word.STALE] += stale
        return stale

    def void(self) -> int:
        """Drop the whole plan, and what is outstanding: the motion that they continue did not
        happen. Return how many actions that were."""
        gone = len(self)
        self.settle(Drop.VOID)
        if gone:
            self._keep(self._length, self._length)
            self._words[Word.VOID] += gone
        return gone

    def snapshot(self, epoch: int, observed_ns: int, step: int, now_ns: int) -> Snapshot:
        """Begin the one request in flight, made from the observation of `observed_ns`.

        Call it before the pop of the tick that the observation was made in: a chunk's first action
        is for that tick. Raises RuntimeError while another snapshot is outstanding.
        """
        if self.outstanding is not None:
            raise RuntimeError(
                f"request {self.outstanding.seq} is outstanding: two snapshots would conflict; "
                "merge, settle or reset first"
            )
        self.expire(now_ns)
        seq = self._words[Word.SEQ] + 1
        self._words[Word.SEQ] = seq
        rest = slice(self._cursor - self._base, self._length)
        self.outstanding = Snapshot(
            seq=seq,
            episode=self.episode,
            epoch=epoch,
            session=self._words[Word.SESSION],
            cursor=self._cursor,
            observed_ns=observed_ns,
            step=step,
            model=self._plan.model[rest],
            robot=self._plan.robot[rest],
        )
        return self.outstanding

    def claim(self, seq: int, episode: int, epoch: int) -> Snapshot | None:
        """The outstanding snapshot, if this names it; it is then no longer outstanding.
        Otherwise counts the reply as unasked and returns None."""
        asked = self.outstanding
        if asked is None or (asked.seq, asked.episode, asked.epoch) != (seq, episode, epoch):
            self.count(Drop.UNASKED)
            return None
        self.outstanding = None
        return asked

    def settle(self, why: Drop) -> None:
        """Give up what is outstanding, if anything: its answer will count as unasked."""
        if self.outstanding is not None:
            self.outstanding = None
            self.count(why)

    def merge(
        self,
        model: Floats,
        robot: Floats,
        asked: Snapshot,
        rule: MergeRule,
        *,
        step: int,
        now_ns: int,
        begin: Begin = by_time,
    ) -> Drop | None:
        """Make a claimed snapshot's chunk part of the plan; None, or why it was dropped.

        Args:
            model: float32 [H, A], model space.
            robot: float32 [H, A], robot space.
            step: the policy step of the next pop, on the scale of the snapshot's.
            begin: where in the chunk the robot can begin, if time trims it.
        """
        fault = self._fault(model, robot, asked, now_ns)
        if fault is None:
            if rule.mode == "append":
                fault = self._append(model, robot, asked)
            else:
                gone = self._cursor - asked.cursor
                if rule.trim == "time":
                    gone = begin(robot, gone, step - asked.step)
                weight = rule.blend_weight if rule.mode == "blend" else 1.0
                fault = self._replace(model, robot, asked, gone, weight)
        if fault is None:
            self._words[Word.MERGES] += 1
        else:
            self.count(fault)
        return fault

    def reset(self) -> int:
        """Begin the next episode with an empty plan; return its number. The episode's word goes
        first: killed between the two, the plan is found to be of an earlier episode."""
        self.outstanding = None
        self._words[Word.EPISODE] += 1
        self._words[Word.RESETS] += 1
        self._keep(0, 0)
        return self.episode

    def count(self, why: Drop) -> None:
        """Count one reply (or the lack of one) that did not become part of the plan."""
        self._words[_DROP_WORD[why]] += 1

    @property
    def dropped(self) -> dict[str, int]:
        return {why.value: n for why in Drop if (n := self._words[_DROP_WORD[why]])}

    def _fault(self, model: Floats, robot: Floats, asked: Snapshot, now_ns: int) -> Drop | None:
        for chunk in (model, robot):
            if (
                chunk.ndim != 2
                or chunk.dtype != np.float32
                or chunk.shape[1] != self._memory.actions
                or not 0 < len(chunk) <= self.capacity
            ):
                return Drop.MALFORMED
        if len(model) != len(robot):
            return Drop.MALFORMED
        if asked.observed_ns < now_ns - self._max_age_ns:
            return Drop.EXPIRED
        if not (all_finite(model) and all_finite(robot)):
            return Drop.NOT_FINITE
        return None

    def _replace(
        self, model: Floats, robot: Floats, asked: Snapshot, gone: int, weight: float
    ) -> Drop | None:
        length = len(model) - gone
        if length <= 0:
            return Drop.EXPIRED
        old, draft = self._plan, self._memory.draft
        draft.model[:length] = model[gone:]
        draft.robot[:length] = robot[gone:]
        self._mark(draft.marks[:length], asked, gone)
        overlap = min(length, len(self))
        if weight != 1.0 and overlap:
            rest = slice(self._cursor - self._base, self._cursor - self._base + overlap)
            for new, before in (
                (draft.model[:overlap], old.model[rest]),
                (draft.robot[:overlap], old.robot[rest]),
            ):
                new *= weight
                new += np.float32(1.0 - weight) * before
            marks, before_marks = draft.marks[:overlap], old.marks[rest]
            marks[:, Mark.BLEND_SESSION :] = before_marks[:, Mark.SESSION : Mark.INDEX + 1]
            np.minimum(marks[:, 0], before_marks[:, 0], out=marks[:, 0])
        self._commit(length)
        return None

    def _append(self, model: Floats, robot: Floats, asked: Snapshot) -> Drop | None:
        left, length = len(self), len(self) + len(model)
        if length > self.capacity:
            return Drop.OVERFLOW
        draft = self._memory.draft
        self._carry(self._cursor - self._base, self._length)
        draft.model[left:length] = model
        draft.robot[left:length] = robot
        self._mark(draft.marks[left:length], asked, 0)
        self._commit(length)
        return None

    def _mark(self, marks: NDArray[np.int64], asked: Snapshot, first_index: int) -> None:
        marks[:] = (asked.observed_ns, asked.session, asked.seq, asked.episode, 0, 0, 0, 0, 0)
        marks[:, Mark.INDEX] = _INDICES[first_index : first_index + len(marks)]

    def _carry(self, first: int, end: int) -> None:
        """Copy the actions in force from position `first` to the front of the draft."""
        old, draft, n = self._plan, self._memory.draft, end - first
        draft.model[:n] = old.model[first:end]
        draft.robot[:n] = old.robot[first:end]
        draft.marks[:n] = old.marks[first:end]

    def _keep(self, first: int, end: int) -> None:
        self._carry(first, end)
        self._commit(end - first)

    def _commit(self, length: int) -> None:
        self._memory.commit(length)
        self._load()

    def _load(self) -> None:
        """Cache what pop needs: reading the words anew would cost as much as the pop itself."""
        self._plan = plan = self._memory.plan
        self._cursor, self._base, self._length = self._words[Word.CURSOR], plan.base, plan.length
        self._observed_ns = plan.marks[:, Mark.OBSERVED_NS]


_DROP_WORD = {why: Word.DROPPED + place for place, why in enumerate(Drop)}
_INDICES = np.arange(2048, dtype=np.int64)

"""The chunk buffer against an independent model: a list of actions, each with its age and origin.

Every value in a chunk is unique, so that "the same action twice" is visible in the values alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.plan import Drop, MergeRule, Provenance, Snapshot
from holdfast.actors.control.plan_memory import SEGMENT_BYTES, Mark, PlanMemory, Word
from holdfast.tests.properties.numbered_chunks import ACTIONS, MAX_AGE, MS, arrays


@dataclass(frozen=True)
class Step:
    """An action as the model knows it. `value` is the first action value in robot space."""

    value: float
    observed_ns: int
    origin: Provenance
    other: Provenance | None = None


class PlanMachine(RuleBasedStateMachine):
    """Snapshots, replies (late, doubled, of other epochs), pops, resets, restarts, idle time."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = bytearray(SEGMENT_BYTES)
        self.buffer = ChunkBuffer(PlanMemory(self.memory, "r1", ACTIONS), MAX_AGE)
        self.now_ns = 10_000 * MS
        self.step = 0
        self.epoch = 1
        self.open_session()
        self.plan: list[Step] = []
        self.popped = 0
        self.stale = self.merged = self.resets = self.requests = self.voided = 0
        self.asked: Snapshot | None = None
        self.old: list[tuple[int, int, int]] = []
        self.played: list[tuple[int, int]] = []
        self.next_value = 1
        self.counts = dict.fromkeys(Drop, 0)

    @initialize(
        weight=st.sampled_from([0.25, 0.5, 0.75]), trim=st.sampled_from(["consumed", "time"])
    )
    def choose(self, weight: float, trim: str) -> None:
        self.merge_rules: dict[str, MergeRule] = {
            mode: MergeRule(mode, trim, weight)  # type: ignore[arg-type]
            for mode in ("replace", "append", "blend")
        }

    @rule(ticks=st.integers(1, 12))
    def time_passes(self, ticks: int) -> None:
        """Ticks in which nothing is popped: the plan was dry, or the loop was paused."""
        self.now_ns += ticks * 40 * MS
        self.step += ticks

    @rule()
    def pop(self) -> None:
        self.now_ns += 40 * MS
        self.step += 1
        self._expire()
        action = self.buffer.pop(self.now_ns)
        if not self.plan:
            assert action is None
            return
        expected = self.plan.pop(0)
        self.popped += 1
        assert action is not None
        assert action.robot[0] == pytest.approx(expected.value)
        assert action.model[0] == pytest.approx(-expected.value)
        assert action.observed_ns == expected.observed_ns
        assert action.provenance == expected.origin
        assert action.blended_with == expected.other
        if expected.other is None:
            assert not action.mark[Mark.BLEND_SESSION :].any(), "nothing is left of another plan"
        assert self.now_ns - action.observed_ns <= MAX_AGE
        assert action.provenance.episode == self.buffer.episode
        place = (action.provenance.seq, action.provenance.step)
        assert not self.played or place > self.played[-1], "played twice, or out of order"
        self.played.append(place)

    @rule(
        mode=st.sampled_from(["replace", "append", "blend"]),
        length=st.integers(1, 30),
        before=st.integers(0, 8),
        in_flight=st.integers(0, 12),
        rounds=st.integers(1, 4),
    )
    def stream(self, mode: str, length: int, before: int, in_flight: int, rounds: int) -> None:
        """Requests that are answered while the plan is played."""
        for _ in range(rounds):
            for _ in range(before):
                self.pop()
            if self.asked is None:
                self.snapshot(0)
            for _ in range(in_flight):
                self.pop()
            self.reply(mode, length)

    @precondition(lambda self: self.asked is None)
    @rule(age=st.integers(0, 30))
    def snapshot(self, age: int) -> None:
        self._expire()
        asked = self.buffer.snapshot(self.epoch, self.now_ns - age * MS, self.step, self.now_ns)
        assert asked.session == self.session
        self.requests += 1
        assert asked.seq == self.requests, "each request has the next number"
        assert asked.cursor == self.popped
        assert [float(v) for v in asked.robot[:, 0]] == pytest.approx([s.value for s in self.plan])
        assert [float(v) for v in asked.model[:, 0]] == pytest.approx([-s.value for s in self.plan])
        self.asked = asked

    @precondition(lambda self: self.asked is not None)
    @rule()
    def a_second_snapshot_is_refused(self) -> None:
        with pytest.raises(RuntimeError, match="outstanding"):
            self.buffer.snapshot(self.epoch, self.now_ns, self.step, self.now_ns)

    @precondition(lambda self: self.asked is not None)
    @rule(mode=st.sampled_from(["replace", "append", "blend"]), length=st.integers(1, 30))
    def reply(self, mode: str, length: int) -> None:
        asked = self.asked
        assert asked is not None
        self.asked = None
        key = (asked.seq, asked.episode, asked.epoch)
        claimed = self.buffer.claim(*key)
        assert claimed is asked
        self.old.append(key)
        model, robot = arrays(self.next_value, length)
        first, self.next_value = self.next_value, self.next_value + length
        how = self.merge_rules[mode]
        outcome = self.buffer.merge(model, robot, asked, how, step=self.step, now_ns=self.now_ns)
        assert outcome == self._merge(asked, how, first, length)
        if outcome is not None:
            self.counts[outcome] += 1
        else:
            self.merged += 1

    @precondition(lambda self: self.asked is not None)
    @rule(
        chunk=st.sampled_from(
            [
                np.zeros((4, ACTIONS + 1), np.float32),
                np.zeros((4, ACTIONS), np.float64),
                np.zeros((0, ACTIONS), np.float32),
                np.zeros(4, np.float32),
                np.full((4, ACTIONS), np.nan, np.float32),
                np.zeros((5000, ACTIONS), np.float32),
            ]
        )
    )
    def a_bad_chunk_leaves_the_plan_alone(self, chunk: np.ndarray) -> None:
        asked = self.asked
        assert asked is not None
        self.asked = None
        assert self.buffer.claim(asked.seq, asked.episode, asked.epoch) is asked
        why = self.buffer.merge(
            chunk, chunk, asked, self.merge_rules["replace"], step=self.step, now_ns=self.now_ns
        )
        assert why is not None
        too_old = self.now_ns - asked.observed_ns > MAX_AGE
        assert why in (Drop.MALFORMED, Drop.EXPIRED if too_old else Drop.NOT_FINITE)
        self.counts[why] += 1

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def a_late_or_doubled_reply_is_unasked(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.old))
        assert self.buffer.claim(*key) is None
        self.counts[Drop.UNASKED] += 1

    @precondition(lambda self: self.asked is not None)
    @rule(which=st.sampled_from(["seq", "episode", "epoch"]), by=st.sampled_from([-1, 1]))
    def a_reply_of_another_time_is_unasked(self, which: str, by: int) -> None:
        asked = self.asked
        assert asked is not None
        wrong = replace_key(asked, which, by)
        assert self.buffer.claim(*wrong) is None
        assert self.buffer.outstanding is asked
        self.counts[Drop.UNASKED] += 1

    @rule(why=st.sampled_from([Drop.TIMEOUT, Drop.ABANDONED]))
    def settle(self, why: Drop) -> None:
        self.buffer.settle(why)
        if self.asked is not None:
            self.counts[why] += 1
            self.old.append((self.asked.seq, self.asked.episode, self.asked.epoch))
        self.asked = None

    @rule()
    def reconnect(self) -> None:
        self.settle(Drop.ABANDONED)
        self.epoch += 1
        self.open_session()

    def open_session(self) -> None:
        """The id of a session, which its owner writes beside the plan."""
        self.session = 1_000_000 + 17 * self.epoch
        PlanMemory(self.memory, "r1", ACTIONS).words[Word.SESSION] = self.session

    @rule()
    def reset(self) -> None:
        before = self.buffer.episode
        assert self.buffer.reset() == before + 1
        self.resets += 1
        if self.asked is not None:
            self.old.append((self.asked.seq, self.asked.episode, self.asked.epoch))
        self.asked, self.plan = None, []

    @rule()
    def void(self) -> None:
        """What the plan continues did not happen."""
        self.settle(Drop.VOID)
        assert self.buffer.void() == len(self.plan)
        self.voided += len(self.plan)
        self.plan = []

    @rule()
    def restart(self) -> None:
        """Killed between two calls: the next incarnation finds the plan, nothing outstanding."""
        if self.asked is not None:
            self.old.append((self.asked.seq, self.asked.episode, self.asked.epoch))
        self.asked = None
        self.buffer = ChunkBuffer(PlanMemory(self.memory, "r1", ACTIONS), MAX_AGE)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert len(self.buffer) == len(self.plan)
        assert self.buffer.cursor == self.popped
        assert self.buffer.dropped == {w.value: n for w, n in self.counts.items() if n}
        assert (self.buffer.outstanding is None) == (self.asked is None)

    @invariant()
    def counts_what_the_model_counts(self) -> None:
        """In the segment, over all incarnations."""
        words = PlanMemory(self.memory, "r1", ACTIONS).words
        counted = [words[w] for w in (Word.MERGES, Word.RESETS, Word.STALE, Word.VOID)]
        assert counted == [self.merged, self.resets, self.stale, self.voided]

    def _expire(self) -> None:
        while self.plan and self.now_ns - self.plan[0].observed_ns > MAX_AGE:
            self.plan.pop(0)
            self.stale += 1

    def _merge(self, asked: Snapshot, how: MergeRule, first: int, length: int) -> Drop | None:
        if self.now_ns - asked.observed_ns > MAX_AGE:
            return Drop.EXPIRED
        chunk = [
            Step(
                float(first + i),
                asked.observed_ns,
                Provenance(asked.session, asked.seq, asked.episode, i),
            )
            for i in range(length)
        ]
        if how.mode == "append":
            self.plan = self.plan + chunk
            return None
        gone = self.step - asked.step if how.trim == "time" else self.popped - asked.cursor
        if gone >= length:
            return Drop.EXPIRED
        new = chunk[gone:]
        if how.mode == "blend":
            w = how.blend_weight
            for i, (old, fresh) in enumerate(zip(self.plan, new, strict=False)):
                new[i] = replace(
                    fresh,
                    value=w * fresh.value + (1 - w) * old.value,
                    observed_ns=min(old.observed_ns, fresh.observed_ns),
                    other=old.origin,
                )
        self.plan = new
        return None


def replace_key(asked: Snapshot, which: str, by: int) -> tuple[int, int, int]:
    key = {"seq": asked.seq, "episode": asked.episode, "epoch": asked.epoch}
    key[which] += by
    return key["seq"], key["episode"], key["epoch"]


TestPlan = PlanMachine.TestCase
TestPlan.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)

"""What becomes of single chunks that are merged into a plan: trimmed, appended, aged, refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.plan import Drop, MergeRule, Snapshot
from holdfast.actors.control.plan_memory import PlanMemory
from holdfast.tests.properties.numbered_chunks import ACTIONS, MAX_AGE, MS, arrays


@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 12))
def test_a_chunk_is_trimmed_by_actions_or_by_ticks_as_its_rule_says(
    idle: int, played: int, length: int
) -> None:
    """`consumed` counts actions and `time` ticks: they differ by ticks without an action."""
    for trim, gone in (("consumed", min(played, 3)), ("time", idle + played)):
        buffer = ChunkBuffer(PlanMemory.private("r", ACTIONS), 10**12)
        first = buffer.snapshot(1, 0, 0, 0)
        buffer.claim(first.seq, first.episode, 1)
        buffer.merge(*arrays(100, 3), first, MergeRule(), step=0, now_ns=0)
        asked = buffer.snapshot(1, 0, 0, 0)
        for _ in range(played):
            buffer.pop(0)
        buffer.claim(asked.seq, asked.episode, 1)
        how = MergeRule("replace", trim)  # type: ignore[arg-type]
        why = buffer.merge(*arrays(1, length), asked, how, step=idle + played, now_ns=0)
        if gone >= length:
            assert why is Drop.EXPIRED
            assert len(buffer) == max(3 - played, 0), "the old plan stays"
        else:
            action = buffer.pop(0)
            assert action is not None and action.robot[0] == 1 + gone


def test_a_chunk_that_is_appended_does_not_rejuvenate_older_actions() -> None:
    """An action expires by the observation that it was made from, whatever follows it."""
    buffer = ChunkBuffer(PlanMemory.private("r", ACTIONS), MAX_AGE)
    for observed_ns, first in ((0, 1), (900 * MS, 11)):
        asked = buffer.snapshot(1, observed_ns, 0, observed_ns)
        buffer.claim(asked.seq, asked.episode, 1)
        buffer.merge(*arrays(first, 5), asked, MergeRule("append"), step=0, now_ns=observed_ns)
    action = buffer.pop(1100 * MS)
    assert action is not None and action.robot[0] == 11
    assert len(buffer) == 4


def test_a_plan_that_would_outgrow_its_memory_is_not_appended_to() -> None:
    """The chunk is dropped as OVERFLOW and the plan stays."""
    buffer = ChunkBuffer(PlanMemory.private("r", ACTIONS), MAX_AGE)
    chunk = np.zeros((buffer.capacity, ACTIONS), np.float32)
    outcomes = []
    for _ in range(2):
        asked = buffer.snapshot(1, 0, 0, 0)
        buffer.claim(asked.seq, asked.episode, 1)
        outcomes.append(buffer.merge(chunk, chunk, asked, MergeRule("append"), step=0, now_ns=0))
    assert outcomes == [None, Drop.OVERFLOW]
    assert len(buffer) == buffer.capacity


def asked_at(buffer: ChunkBuffer, observed_ns: int) -> Snapshot:
    """A claimed snapshot of that observation."""
    asked = buffer.snapshot(1, observed_ns, 0, observed_ns)
    claimed = buffer.claim(asked.seq, asked.episode, 1)
    assert claimed is asked
    return asked


def test_an_action_may_be_played_up_to_its_last_nanosecond() -> None:
    """An observation of exactly the greatest age still counts: in a merge, a pop and a sweep."""
    for late, why, left in ((0, None, 3), (1, Drop.EXPIRED, 0)):
        buffer = ChunkBuffer(PlanMemory.private("r", ACTIONS), MAX_AGE)
        asked = asked_at(buffer, 0)
        merged = buffer.merge(*arrays(1, 3), asked, MergeRule(), step=0, now_ns=MAX_AGE + late)
        assert (merged, len(buffer)) == (why, left)
    buffer = ChunkBuffer(PlanMemory.private("r", ACTIONS), MAX_AGE)
    buffer.merge(*arrays(1, 3), asked_at(buffer, 0), MergeRule(), step=0, now_ns=0)
    assert buffer.pop(MAX_AGE) is not None
    assert buffer.expire(MAX_AGE) == 0
    assert buffer.pop(MAX_AGE + 1) is None and len(buffer) == 0


@pytest.mark.parametrize("space", ["model", "robot"])
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda chunk: np.where(chunk == 2, np.nan, chunk).astype(np.float32), Drop.NOT_FINITE),
        (lambda chunk: np.where(chunk == -2, np.inf, chunk).astype(np.float32), None),
        (lambda chunk: chunk[:-1], Drop.MALFORMED),
        (lambda chunk: chunk.astype(np.float64), Drop.MALFORMED),
    ],
    ids=["nan", "sound", "shorter", "float64"],
)
def test_a_chunk_is_refused_for_a_fault_in_either_of_its_spaces(
    space: str, spoil: Callable[[np.ndarray], np.ndarray], why: Drop | None
) -> None:
    """A value that is not finite, another shape or dtype, in model or robot space."""
    buffer = ChunkBuffer(PlanMemory.private("r", ACTIONS), MAX_AGE)
    chunk = np.arange(8, dtype=np.float32).reshape(4, ACTIONS)
    spaces = {"model": chunk, "robot": chunk, space: spoil(chunk)}
    asked = asked_at(buffer, 0)
    chunks = spaces["model"], spaces["robot"]
    assert buffer.merge(*chunks, asked, MergeRule(), step=0, now_ns=0) is why
    assert len(buffer) == (4 if why is None else 0)


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros((4, ACTIONS + 1), np.float32),
        np.zeros((4, ACTIONS - 1), np.float32),
        np.zeros((0, ACTIONS), np.float32),
        np.zeros(4, np.float32),
        np.zeros((2, 2, ACTIONS), np.float32),
        np.zeros((5000, ACTIONS), np.float32),
        np.zeros((4, ACTIONS), np.int32),
    ],
    ids=lambda chunk: f"{chunk.shape}-{chunk.dtype}",
)
def test_a_chunk_of_another_shape_or_dtype_is_malformed(chunk: np.ndarray) -> None:
    """It is counted, and the plan stays empty."""
    buffer = ChunkBuffer(PlanMemory.private("r", ACTIONS), MAX_AGE)
    asked = asked_at(buffer, 0)
    assert buffer.merge(chunk, chunk, asked, MergeRule(), step=0, now_ns=0) is Drop.MALFORMED
    assert len(buffer) == 0 and buffer.dropped == {"malformed": 1}


def test_a_chunk_may_be_as_long_as_the_plan() -> None:
    """A chunk of `capacity` steps is merged whole."""
    buffer = ChunkBuffer(PlanMemory.private("r", ACTIONS), MAX_AGE)
    model, robot = arrays(1, buffer.capacity)
    assert buffer.merge(model, robot, asked_at(buffer, 0), MergeRule(), step=0, now_ns=0) is None
    assert len(buffer) == buffer.capacity

"""SIGKILL at any instant: the memory that is left holds a whole plan, and its next action."""

from __future__ import annotations

import mmap
import os
import random
import signal
import time

import numpy as np
import pytest

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.plan import MergeRule
from holdfast.actors.control.plan_memory import SEGMENT_BYTES, PlanMemory, Word

ROUNDS = 60
LENGTH = 50


def play_for_ever(memory: mmap.mmap, played: mmap.mmap) -> None:
    """Merge and pop as fast as possible; the last popped value goes to `played`, after its pop."""
    buffer = ChunkBuffer(PlanMemory(memory, "r1", 14), 10**18)
    out = memoryview(played).cast("d")
    steps = np.arange(LENGTH, dtype=np.float32)[:, None] + np.zeros(14, np.float32)
    while True:
        asked = buffer.snapshot(1, 0, 0, 0)
        buffer.claim(asked.seq, asked.episode, 1)
        values = (asked.seq % 1000) * 1000 + steps
        buffer.merge(-values, values, asked, MergeRule(), step=0, now_ns=0)
        for _ in range(random.randrange(1, 8)):
            action = buffer.pop(0)
            assert action is not None
            out[0] = asked.seq * 1000.0 + action.provenance.step


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_killed_at_any_instant_leaves_one_whole_plan_and_its_next_action() -> None:
    """SIGKILL between any two instructions: no torn plan, no action twice, at most one skipped."""
    random.seed(0)
    memory, played = mmap.mmap(-1, SEGMENT_BYTES), mmap.mmap(-1, mmap.PAGESIZE)
    out = memoryview(played).cast("d")
    generations = set()
    for _ in range(ROUNDS):
        out[0] = -1.0
        child = os.fork()
        if child == 0:
            try:
                play_for_ever(memory, played)
            finally:
                os._exit(1)
        deadline = time.monotonic() + 60
        while out[0] < 0:
            assert time.monotonic() < deadline, "the child plays nothing"
        time.sleep(random.random() * 0.004)
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        plan = PlanMemory(memory, "r1", 14)
        assert plan.found == "a plan"
        generations.add(plan.words[Word.COMMITTED])
        buffer = ChunkBuffer(plan, 10**18)
        last_seq, last_step = divmod(out[0], 1000)
        rest = []
        while (action := buffer.pop(0)) is not None:
            assert (action.robot == action.robot[0]).all()
            assert (action.model == -action.robot).all()
            assert action.robot[0] == (action.provenance.seq % 1000) * 1000 + action.provenance.step
            rest.append((action.provenance.seq, action.provenance.step))
        assert len({seq for seq, _ in rest}) <= 1, "one chunk's actions"
        steps = [step for _, step in rest]
        assert steps == list(range(LENGTH - len(rest), LENGTH)), "to the end, none left out"
        if rest and rest[0][0] == last_seq:
            # The cursor moves first: a kill between it and the command skips one, repeats none.
            assert rest[0][1] in (last_step + 1, last_step + 2)
    assert len(generations) == ROUNDS
    out.release()

"""The steps of commands where chunks meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.tools.evaluation.chunk_seams import NO_CHUNK, seam_jump, seam_steps


def test_a_seam_is_the_step_to_the_first_action_of_another_chunk() -> None:
    """After a hold from the last action played; a chunk that goes on after a hold has none."""
    actions = np.array([[0, 0], [1, 0], [4, 1], [9, 9], [5, 1], [9, 9], [3, 7]], np.float32)
    chunks = [7, 7, 8, NO_CHUNK, 8, NO_CHUNK, 9]
    assert seam_steps(actions, chunks).tolist() == [[3, 1], [2, 6]]
    assert seam_jump(actions, chunks) == 6
    assert seam_jump(actions, chunks, np.array([1, 10])) == 3


@pytest.mark.parametrize("chunks", [[], [1], [1, 1, 1], [NO_CHUNK, 2, NO_CHUNK]])
def test_without_two_chunks_there_is_no_jump(chunks: list[int]) -> None:
    """Nothing was played, or one chunk alone."""
    assert seam_jump(np.ones((len(chunks), 3)) * np.arange(len(chunks))[:, None], chunks) == 0


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.integers(0, 2**31))
def test_a_line_has_the_same_step_at_every_seam(chunks: list[int], seed: int) -> None:
    """Chunks that continue a motion of constant speed jump by one step of it, at each seam."""
    slope = np.random.default_rng(seed).normal(size=3)
    line = np.arange(len(chunks))[:, None] * slope
    steps = seam_steps(line, chunks)
    changes = sum(a != b for a, b in zip(chunks[1:], chunks, strict=False))
    assert len(steps) == changes
    assert np.allclose(steps, np.abs(slope), atol=1e-9)

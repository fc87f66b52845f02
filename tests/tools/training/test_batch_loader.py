"""Batches that are drawn ahead."""

from __future__ import annotations

import threading

import pytest

from holdfast.tests.tools.training.small_trainings import fake_training, small
from holdfast.tools.training.batch_loader import BatchLoader
from holdfast.tools.training.training_batch import TrainingBatch

BATCHES = fake_training(small()).batches
ONE = BATCHES.draw(0)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_come_by_their_number_from_any_number_of_threads(threads: int) -> None:
    """Also where a later one is drawn first, and after a jump, as a resumed run makes."""
    made: dict[int, TrainingBatch] = {}
    drawn = {number: threading.Event() for number in range(9 + threads + 1)}

    def draw(number: int) -> TrainingBatch:
        if threads > 1 and number in (0, 8):
            assert drawn[number + 1].wait(120.0), "no other thread drew the batch after this one"
        batch = made.setdefault(number, BATCHES.draw(number % 2))
        drawn[number].set()
        return batch

    loader = BatchLoader(draw, threads)
    try:
        for number in (0, 1, 2, 3, 7, 8, 9, 2, 3):
            assert loader.take(number) is made[number]
        assert max(made) <= 9 + threads
    finally:
        loader.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("batch-loader")]


def test_an_error_of_a_batch_is_raised_where_it_is_taken() -> None:
    """Those before it are given."""

    def draw(number: int) -> TrainingBatch:
        if number == 2:
            raise ValueError("batch 2 is broken")
        return ONE

    loader = BatchLoader(draw, 2)
    try:
        assert loader.take(0) is loader.take(1) is ONE
        with pytest.raises(ValueError, match="batch 2 is broken"):
            loader.take(2)
    finally:
        loader.close()

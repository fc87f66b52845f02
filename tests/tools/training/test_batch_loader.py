"""Batches that are drawn ahead."""

from __future__ import annotations

import threading
import time

import pytest

from holdfast.tests.tools.training.small_trainings import fake_training, small
from holdfast.tools.training.batch_loader import BatchLoader
from holdfast.tools.training.training_batch import TrainingBatch

ONE = fake_training(small()).batches.draw(0)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_come_by_their_number_from_any_number_of_threads(threads: int) -> None:
    """Also where later ones are drawn faster, and after a jump, as a resumed run makes."""
    made: dict[int, TrainingBatch] = {}

    def draw(number: int) -> TrainingBatch:
        time.sleep(0.002 * (3 - number % 4))
        return made.setdefault(number, fake_training(small()).batches.draw(number % 2))

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

"""The parts of a batch of π0.5 that several processes take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from holdfast.tests.peers.small_pi_checkpoint import write_action_tokenizer
from holdfast.tests.tools.training.small_pi_trainings import NETWORK, pi_training, tiny
from holdfast.tools.training.ranks import Ranks


@pytest.mark.parametrize("count", [2, 4])
def test_the_losses_of_several_processes_are_those_of_one(count: int, tmp_path: Path) -> None:
    """The mean over them, of the flow and of the words, whose answers differ in length."""
    tokens = str(write_action_tokenizer(tmp_path / "fast"))
    network = {**NETWORK, "words": 708}
    config = tiny(insulate=True, action_tokenizer=tokens, network=network, batch=4)
    trainer = pi_training(config)
    for number in range(3):
        with torch.no_grad():
            whole, metrics = trainer.loss(trainer.batches.draw(number))
            parts = [
                trainer.loss(trainer.batches.draw(number, Ranks(rank, count)))
                for rank in range(count)
            ]
        answer = trainer.batches.draw(number).answer
        assert answer is not None and len(set((answer != 0).sum(1).tolist())) > 1
        for key, value in metrics.items():
            mean = sum(float(part[key]) for _, part in parts) / count
            assert mean == pytest.approx(float(value), rel=1e-5), key
        mean = sum(float(loss) for loss, _ in parts) / count
        assert mean == pytest.approx(float(whole), rel=1e-5)

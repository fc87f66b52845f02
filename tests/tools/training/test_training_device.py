"""Where a training computes. The tests of a GPU need one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from holdfast.policy.kinds import load_policy
from holdfast.tests.tools.training.small_trainings import fake_training, small
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_config import RecordedConfig
from holdfast.tools.training.training_device import training_device


def on_gpu(config: RecordedConfig) -> Trainer:
    """The fake training on the first GPU, its batches drawn in a thread."""
    batches = fake_training(config).batches
    return Trainer(config, batches, training_device("cuda:0", 1), loaders=1)


def test_the_cpu_is_taken_by_name_and_where_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`auto` names what torch finds."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training_device("auto", 1) == training_device("cpu", 1) == torch.device("cpu")
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("name", "processes", "error"),
    [
        ("gpu", "1", "--device gpu: expected auto, cpu, cuda or cuda:N"),
        ("mps", "1", "--device mps: expected auto, cpu, cuda or cuda:N"),
        ("cuda:99", "1", "CUDA devices here, expected 100 or more; use --device cpu"),
        ("cuda:1", "2", "2 processes of this machine would share it; give --device cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    name: str, processes: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what was found and what to give."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    with pytest.raises(ValueError, match=r".") as caught:
        training_device(name, 1)
    assert error in str(caught.value)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["flow", "act"])
def test_a_gpu_trains_as_the_cpu_does(kind: Any) -> None:
    """The losses of ten steps agree within float tolerance, for the same random numbers."""
    here, there = fake_training(small(kind)), on_gpu(small(kind))
    try:
        expected = [here.advance()["loss"] for _ in range(10)]
        found = [there.advance()["loss"] for _ in range(10)]
        np.testing.assert_allclose(found, expected, rtol=1e-2)
        assert {each.device.type for each in there.network.parameters()} == {"cuda"}
        assert there.loader.take(there.step).state.is_pinned()
    finally:
        there.loader.close()


@pytest.mark.gpu
def test_bfloat16_trains_on_a_gpu_and_the_checkpoint_is_served_on_the_cpu(tmp_path: Path) -> None:
    """The loss falls, the weights stay float32, and the CPU goes on from the progress."""
    config = small(dtype="bfloat16")
    trainer = on_gpu(config)
    try:
        losses = [trainer.advance()["loss"] for _ in range(20)]
    finally:
        trainer.loader.close()
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert {each.dtype for each in trainer.network.parameters()} == {torch.float32}
    trainer.save(tmp_path)
    policy = load_policy("flow", tmp_path)
    (chunk,) = policy.predict_chunk([policy.spec.example()])
    assert np.isfinite(chunk.robot).all()
    trainer.save_progress(tmp_path / "progress.pt")
    resumed = fake_training(config)
    assert resumed.load_progress(tmp_path / "progress.pt") == "cuda, 1 processes"
    assert np.isfinite(resumed.advance()["loss"])

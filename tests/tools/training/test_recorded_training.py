"""Training on recorded episodes: what a step is, and what a resumed run is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from holdfast.policy.encoder import EncodingNetwork
from holdfast.policy.kinds import load_policy
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.tests.robot.dataset.recordings import dataset
from holdfast.tests.tools.training.small_trainings import check_resumption, fake_training, small
from holdfast.tools.training.episode_windows import load_windows, spec_of
from holdfast.tools.training.ranks import Ranks
from holdfast.tools.training.recorded_batches import RecordedBatches
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_loss import TrainingLoss
from holdfast.tools.training.training_run import recorded

KINDS: tuple[Literal["flow", "act"], ...] = ("flow", "act")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "pick"
    dataset(folder)
    return folder


def recorded_training(root: Path, cache: Path, seed: int = 3, **changes: Any) -> Trainer:
    """A training on the dataset at its beginning, its pictures out of `cache`."""
    opened, config = Dataset(root), small(**changes)
    spec = spec_of(opened, config)
    return Trainer(config, RecordedBatches(config, spec, load_windows(opened, spec, cache), seed))


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2, "dtype": "bfloat16"}])
def test_a_resumed_run_on_recorded_data_equals_the_uninterrupted_one(
    root: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Weights and average are the same bit for bit, through the end of an epoch."""
    check_resumption(lambda: recorded_training(root, tmp_path, **changes), tmp_path / "progress.pt")


def test_the_progress_of_another_run_is_refused_with_each_difference(
    root: Path, tmp_path: Path
) -> None:
    """Every key that differs, the data and the seed are named with both values."""
    begun = recorded_training(root, tmp_path)
    begun.save_progress(tmp_path / "progress.pt")
    other = tmp_path / "other"
    dataset(other, lengths=(4, 4))
    resumed = recorded_training(other, tmp_path, seed=4, rate=1e-3, looks=1)
    with pytest.raises(ValueError, match="is of another run") as caught:
        resumed.load_progress(tmp_path / "progress.pt")
    said = str(caught.value)
    data = f'data was "{begun.batches.identity}", is now "{resumed.batches.identity}"'
    for part in ("seed was 3, is now 4", "rate was 0.002, is now 0.001", "looks was 2", data):
        assert part in said
    assert "steps was" not in said and "--no-resume" in said


def test_two_accumulated_batches_give_the_gradients_of_one_twice_as_large() -> None:
    """The gradients of every weight agree within 1e-5, where all steps count."""
    common = {
        "linger_steps": 8,
        "brightness": 0.0,
        "word_dropout": 0.0,
        "looks": 1,
        "gradient_norm": 1e9,
    }
    halves = fake_training(small("act", batch=4, accumulate=2, **common))
    whole = fake_training(small("act", batch=8, **common))
    for trainer in (halves, whole):
        trainer.advance()
    found, expected = (
        {n: p.grad for n, p in t.network.named_parameters() if p.grad is not None and p.numel()}
        for t in (halves, whole)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_trains_on_the_cpu(kind: Literal["flow", "act"], tmp_path: Path) -> None:
    """The loss falls, is not exactly that of float32, and the weights stay float32."""
    low, full = fake_training(small(kind, dtype="bfloat16")), fake_training(small(kind))
    losses = [low.advance()["loss"] for _ in range(20)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    exact = full.advance()["loss"]
    assert losses[0] != exact and abs(losses[0] - exact) < 0.05 * exact
    assert {p.dtype for p in low.network.parameters()} == {torch.float32}
    low.save(tmp_path)
    (chunk,) = (policy := load_policy(kind, tmp_path)).predict_chunk([policy.spec.example()])
    assert chunk.robot.shape == (8, 6) and np.isfinite(chunk.robot).all()


def test_the_rate_falls_to_its_final_share_and_gradients_are_clipped() -> None:
    """With final_rate=1 the rate is constant; the gradients' norm is at most gradient_norm."""
    constant = fake_training(small(warmup_steps=1, final_rate=1.0, gradient_norm=1e-3))
    assert {constant.advance()["rate"] for _ in range(20)} == {2e-3}
    clipped = [p.grad.norm() for p in constant.network.parameters() if p.grad is not None]
    assert float(torch.stack(clipped).norm()) <= 1.001e-3
    falling = fake_training(small(warmup_steps=1, final_rate=0.5))
    rates = [falling.advance()["rate"] for _ in range(20)]
    assert rates == sorted(rates, reverse=True)
    assert 1e-3 < rates[-1] < 1.01e-3


@pytest.mark.parametrize("statistics", ["recomputed", "dataset"])
def test_statistics_are_recomputed_or_the_datasets_own(
    root: Path, tmp_path: Path, statistics: str
) -> None:
    """Both have the mean and deviation of the recorded states and actions within 1e-4."""
    opened, config = Dataset(root), small(statistics=statistics)
    batches = recorded(root, config, 0, tmp_path)
    states, actions = (
        np.concatenate([getattr(episode, part) for episode in opened]).astype(np.float64)
        for part in ("states", "actions")
    )
    for found, values in ((batches.stats.state, states), (batches.stats.action, actions)):
        np.testing.assert_allclose(found.mean, values.mean(0), atol=1e-4)
        np.testing.assert_allclose(found.std, values.std(0), atol=1e-4)


def test_relative_actions_are_offsets_from_the_state_of_their_frame(
    root: Path, tmp_path: Path
) -> None:
    """The statistics are of all recorded steps of all windows; the dataset's own are refused."""
    opened, config = Dataset(root), small(relative_actions=("x",))
    batches = recorded(root, config, 0, tmp_path)
    offsets = [
        episode.actions[later, 0] - episode.states[now, 0]
        for episode in opened
        for now in range(len(episode))
        for later in range(now, min(now + 8, len(episode)))
    ]
    assert batches.stats.action.mean[0] == pytest.approx(np.mean(offsets), abs=1e-4)
    assert batches.stats.action.std[0] == pytest.approx(np.std(offsets), abs=1e-4)
    with pytest.raises(ValueError, match="relative_actions has x; use statistics=recomputed"):
        recorded(root, small(relative_actions=("x",), statistics="dataset"), 0, tmp_path)


def test_a_batch_is_what_the_service_will_see(root: Path, tmp_path: Path) -> None:
    """Chunks and states, denormalized, are the recorded ones; prefixes leave a step to learn."""
    opened = Dataset(root)
    config = small(looks=3, brightness=0.0, fresh=0.2)
    batches = recorded(root, config, 0, tmp_path)
    rows = [pair for e in opened for pair in zip(e.states, e.actions, strict=True)]
    for number in range(6):
        batch = batches.draw(number)
        mean, std = np.array(batches.stats.state.mean), np.array(batches.stats.state.std)
        states = batch.state.numpy() * std + mean
        mean, std = np.array(batches.stats.action.mean), np.array(batches.stats.action.std)
        first = (batch.chunk.numpy() * std + mean)[:, 0].reshape(4, 3, 2)
        for place in range(4):
            at = int(np.argmin([np.abs(s - states[place]).sum() for s, _ in rows]))
            np.testing.assert_allclose(states[place], rows[at][0], atol=1e-3)
            np.testing.assert_allclose(first[place], np.tile(rows[at][1], (3, 1)), atol=1e-3)
        learned = (batch.counts & ~batch.given).sum(1)
        assert int(learned.min()) >= 1 and int(batch.given.sum(1).max()) <= 4


def test_a_training_without_a_simulators_truth_makes_no_warning() -> None:
    """A network that predicts no places has a layer without outputs, of which torch warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fake_training(small())


def test_the_parts_of_the_ranks_are_the_batch(root: Path, tmp_path: Path) -> None:
    """Put together they are the whole one, and their losses, weighed by their shares, its loss."""
    config = small(batch=6, looks=3)
    trainer = recorded_training(root, tmp_path, batch=6, looks=3)
    whole = trainer.batches.draw(5)
    parts = [trainer.batches.draw(5, Ranks(rank, 3)) for rank in range(3)]
    for name in ("state", "tokens", "chunk", "given", "counts", "time", "noise"):
        together = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(together, getattr(whole, name)), name
    for place, images in enumerate(whole.images):
        assert torch.equal(torch.cat([part.images[place] for part in parts]), images)
    assert isinstance(trainer.network, EncodingNetwork)
    loss = TrainingLoss(trainer.network, config.looks)
    with torch.no_grad():
        mean = torch.stack([loss(part)[0] for part in parts]).mean()
        torch.testing.assert_close(mean, loss(whole)[0])
    assert len({part.share for part in parts}) > 1, "the parts have as many steps to learn"


def test_a_batch_that_the_processes_do_not_divide_is_refused() -> None:
    """The error has one that they do."""
    trainer = fake_training(small())
    with pytest.raises(ValueError, match=r"batch=4 does not divide into 3 processes.* as batch=3"):
        Trainer(small(), trainer.batches, ranks=Ranks(0, 3))

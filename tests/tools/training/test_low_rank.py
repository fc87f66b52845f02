"""Low-rank adapters, and weights that stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
import torch

from holdfast.errors import PolicyError
from holdfast.policy.checkpoint import read_weights
from holdfast.policy.encoder import EncodingNetwork
from holdfast.policy.kinds import load_policy, untrained_network
from holdfast.tests.tools.training.small_pi_trainings import pi_training, tiny
from holdfast.tests.tools.training.small_trainings import (
    check_resumption,
    fake_training,
    saved_base,
    small,
)
from holdfast.tools.training.base_weights import WORDS, load_base
from holdfast.tools.training.frozen_weights import freeze
from holdfast.tools.training.low_rank import USUAL, add_adapters
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_config import LoraConfig, TrainedKind

LORA = LoraConfig(rank=2, alpha=4.0)


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A flow checkpoint to begin with."""
    saved_base(tmp_path / "base", small(), seed=1)
    return str(tmp_path / "base")


def adapted(base: str, **changes: Any) -> Trainer:
    """A training of adapters on the base at its beginning."""
    values: dict[str, Any] = {"base": base, "lora": LORA, "ema": 0.0} | changes
    return fake_training(small(**values), seed=2)


def test_only_the_adapters_are_trained_and_kept_in_the_optimizer(base: str, tmp_path: Path) -> None:
    """After steps every weight of the base is as it was, bit for bit, and every adapter is not."""
    trainer = adapted(base)
    before = {name: each.clone() for name, each in trainer.network.state_dict().items()}
    for _ in range(3):
        trainer.advance()
    changed = {n for n, v in trainer.network.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == set(trainer.trained) == set(trainer.average)
    layers = {name.rpartition(".")[0] for name in changed}
    assert layers == {
        f"denoiser.blocks.0.{layer}" for layer in ("modulate", "qkv", "out", "wide", "narrow")
    }
    assert len(changed) == 2 * len(layers) == len(trainer.optimizer.state_dict()["state"])


def test_a_fresh_adapter_changes_nothing(base: str, tmp_path: Path) -> None:
    """The checkpoint before the first step has the weights of the base."""
    adapted(base).save(tmp_path / "fresh")
    expected = read_weights(base)
    for name, value in read_weights(tmp_path / "fresh").items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_the_checkpoint_is_an_ordinary_one_that_computes_the_same(
    base: str, tmp_path: Path
) -> None:
    """It has the names of the base, and its network gives the adapted network's chunks."""
    trainer = adapted(base, rate=0.05)
    for _ in range(10):
        trainer.advance()
    trainer.save(tmp_path / "merged")
    weights, before = read_weights(tmp_path / "merged"), read_weights(base)
    assert weights.keys() == before.keys()
    moved = {name for name, value in weights.items() if not np.array_equal(value, before[name])}
    assert moved and all(name.startswith("denoiser.blocks.") for name in moved)
    plain = untrained_network(trainer.batches.description)
    plain.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    batch = trainer.batches.draw(99)
    assert isinstance(trainer.network, EncodingNetwork)
    own, _ = trainer.network.observe(batch.images, batch.state, batch.tokens)
    merged, _ = plain.observe(batch.images, batch.state, batch.tokens)
    looks = (batch.chunk, batch.given, batch.counts, batch.time, batch.noise)
    expected, found = (
        network.loss(seen.repeat_interleave(2, dim=0), *looks)
        for network, seen in ((trainer.network, own), (plain, merged))
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    policy = load_policy("flow", tmp_path / "merged")
    (chunk,) = policy.predict_chunk([policy.spec.example()])
    assert np.isfinite(chunk.robot).all()


def test_a_resumed_training_of_adapters_equals_the_uninterrupted_one(
    base: str, tmp_path: Path
) -> None:
    """The adapters are in the progress; the merged checkpoints are the same file."""
    check_resumption(lambda: adapted(base, ema=0.9), tmp_path / "progress.pt")
    other = adapted(base, lora=LoraConfig(rank=3))
    with pytest.raises(ValueError, match=r"lora\.rank was 2, is now 3"):
        other.load_progress(tmp_path / "progress.pt")


def test_adapters_learn(base: str) -> None:
    """The loss of ten steps falls below that of the first."""
    trainer = adapted(base, rate=0.02, warmup_steps=1)
    losses = [trainer.advance()["loss"] for _ in range(20)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_what_does_not_freeze_is_trained_beside_the_adapters(base: str) -> None:
    """`freeze` decides over the weights, and the adapters are trained in any case."""
    trainer = adapted(base, freeze=("*", "!encoder.state.*"))
    others = {name for name in trainer.trained if "lora" not in name}
    assert others == {f"encoder.state.{n}.{each}" for n in (0, 2) for each in ("weight", "bias")}
    frozen = fake_training(small(base=base, freeze=("encoder.*",)))
    assert frozen.trained and not any(name.startswith("encoder.") for name in frozen.trained)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"lora": LORA}, r"lora\.rank=2 changes a trained network: name it, as base=runs/first"),
        ({"freeze": ("encoder.*",)}, r"would stay random, because no base gives them; train them"),
        ({"freeze": ("eyes.*",)}, r"freeze: no weight matches eyes\.\*; there are encoder\."),
    ],
)
def test_a_training_that_keeps_random_weights_is_refused(
    changes: dict[str, Any], error: str
) -> None:
    """The error names the weights and the key that mends it."""
    with pytest.raises(ValueError, match=error):
        fake_training(small(**changes))


def test_adapters_of_no_layer_and_a_training_of_nothing_are_refused(base: str) -> None:
    """The linear layers are listed; a part that the base does not give may not stay random."""
    with pytest.raises(PolicyError, match=r"no linear layer matches blocks\.\*; there are "):
        adapted(base, lora=LoraConfig(rank=2, modules=("blocks.*",)))
    with pytest.raises(ValueError, match="leaves nothing to train"):
        fake_training(small(base=base, freeze=("*",)))
    with pytest.raises(ValueError, match=r"freeze=\*,!encoder\.fuse\.0\.weight"):
        adapted(base, base_weights=("*", "!encoder.fuse.0.weight"))


def test_embeddings_of_new_words_are_trained_or_the_training_is_refused(base: str) -> None:
    """A base that does not know a word gives the embeddings of the others only."""
    description = fake_training(small()).batches.description
    words = (*description.vocabulary, "zebra")
    network = untrained_network(msgspec.structs.replace(description, vocabulary=words))
    given = load_base(network, base, ("*",), words)
    assert "encoder.fuse.0.weight" in given and WORDS not in given
    with pytest.raises(ValueError, match=rf"train them: freeze=\*,!{WORDS}"):
        freeze(network, ("*",), given)
    same = untrained_network(description)
    assert WORDS in load_base(same, base, ("*",), description.vocabulary)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"modules": ("denoiser.*", "blocks.*")},
            r"lora\.modules: .* matches blocks\.\*; there are",
        ),
        (
            {"modules": ("denoiser.blocks.*", "decoder.blocks.*")},
            r"lora\.modules: .* matches decoder\.blocks\.\*; there are",
        ),
        (
            {"modules": ("denoiser.*", "!*.widee")},
            r"lora\.modules: .* matches \*\.widee; there are",
        ),
        ({"ranks": ("expert.*:4",)}, r"lora\.ranks: .* matches expert\.\*; there are denoiser\."),
        ({"ranks": ("denoiser.*",)}, r"lora\.ranks: found denoiser\.\*, expected PATTERN:RANK"),
        ({"ranks": ("denoiser.*:0",)}, r"lora\.ranks: found denoiser\.\*:0, expected PATTERN:RANK"),
    ],
)
def test_a_pattern_of_several_that_matches_no_layer_is_refused(
    changes: dict[str, Any], error: str, base: str
) -> None:
    """It is named, with the layers that there are."""
    with pytest.raises(PolicyError, match=error):
        adapted(base, lora=msgspec.structs.replace(LORA, **changes))


@pytest.mark.parametrize("kind", get_args(TrainedKind))
def test_every_kind_has_usual_layers(kind: TrainedKind) -> None:
    """Without `lora.modules`, each of the kind's patterns matches layers of its network."""
    match kind:
        case "pi0" | "pi05":
            trainer = pi_training(tiny(kind))
        case _:
            trainer = fake_training(small(kind))
    chosen = add_adapters(trainer.network, LORA, kind)
    assert {name.partition(".")[0] for name in chosen} == {
        pattern.partition(".")[0] for pattern in USUAL[kind] if not pattern.startswith("!")
    }


def test_layers_may_have_ranks_of_their_own(base: str, tmp_path: Path) -> None:
    """Of the patterns that match, the last decides; the sum is merged with one factor."""
    lora = msgspec.structs.replace(LORA, ranks=("*.wide:3", "denoiser.*.qkv:5", "*.qkv:4"))
    trainer = adapted(base, lora=lora, rate=0.05)
    ranks = {
        name.split(".")[-2]: len(each) for name, each in trainer.trained.items() if "down" in name
    }
    assert ranks == {"modulate": 2, "qkv": 4, "out": 2, "wide": 3, "narrow": 2}
    for _ in range(2):
        trainer.advance()
    trainer.save(tmp_path / "run")
    (chunk,) = load_policy("flow", tmp_path / "run").predict_chunk(
        [trainer.batches.description.spec.example()]
    )
    assert np.isfinite(chunk.robot).all()

"""Training of π0 and π0.5: what a step changes, what a checkpoint is, what a resumed run is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from holdfast.errors import PolicyError
from holdfast.policy.base import Observation
from holdfast.policy.checkpoint import read_weights
from holdfast.policy.pi0.architecture import FlowFamily
from holdfast.policy.pi0.pi_policy import PiPolicy
from holdfast.policy.pi0.tensor_names import published_name
from holdfast.tests.peers.small_pi_checkpoint import write_action_tokenizer, write_openpi_checkpoint
from holdfast.tests.tools.training.small_pi_trainings import (
    KINDS,
    NETWORK,
    pi_batches,
    pi_training,
    tiny,
)
from holdfast.tests.tools.training.small_trainings import check_resumption
from holdfast.tools.training.training_config import LoraConfig

FAMILIES: tuple[FlowFamily, ...] = ("pi0", "pi05")


def loaded(folder: Path, kind: str, **options: Any) -> PiPolicy:
    return KINDS[kind](str(folder), **options)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small π0.5 to begin with."""
    folder = tmp_path_factory.mktemp("base")
    trainer = pi_training(tiny("pi05", ema=0.0), seed=1)
    for _ in range(3):  # At first, the expert's layers change nothing and learn nothing.
        trainer.advance()
    trainer.save(folder)
    return str(folder)


def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    """Weights, averages and checkpoint are the same, bit for bit."""
    check_resumption(
        lambda: pi_training(tiny(accumulate=2, dtype="bfloat16")), tmp_path / "progress.pt"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_is_served_without_an_option(family: FlowFamily, tmp_path: Path) -> None:
    """Its spec is the training's, it continues a plan as trained, its weights are averages."""
    trainer = pi_training(tiny(family))
    for _ in range(3):
        trainer.advance()
    trainer.save(tmp_path)
    policy = loaded(tmp_path, family)
    assert policy.spec == trainer.batches.description.spec
    assert policy.spec.prefix == "trained" and policy.spec.max_prefix_steps == 3
    (chunk,) = policy.predict_chunk([policy.spec.example(task="pick up the part")])
    assert chunk.robot.shape == (8, 6) and np.isfinite(chunk.robot).all()
    stored = read_weights(tmp_path)
    for name, weight in trainer.average.items():
        np.testing.assert_array_equal(stored[published_name(name, family)], weight.numpy())
    guided = loaded(tmp_path, family, prefix="guided").spec
    assert (guided.prefix, guided.max_prefix_steps) == ("guided", 8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("relative", [(), ("joint_2", "joint_5")])
def test_training_sees_a_frame_as_the_service_does(
    family: FlowFamily, relative: tuple[str, ...], tmp_path: Path
) -> None:
    """Pictures, tokens, state and actions are the same to the bit, with a plan as the actions."""
    trainer = pi_training(tiny(family, brightness=0.0, relative_actions=relative, looks=1))
    trainer.save(tmp_path)
    policy, batches = loaded(tmp_path, family), pi_batches(trainer)
    batch, data = batches.draw(5), batches.data
    for place in range(len(batch.state)):
        row = int(
            np.argmin(
                [
                    np.abs(batch.images[0][place].numpy() - image).sum(dtype=np.int64)
                    for image in data.images["front"]
                ]
            )
        )
        plan, _ = data.chunks(np.array([row]), 8)
        sample = policy._sample(
            Observation(
                state=data.state[row],
                images={"front": data.images["front"][row]},
                task=data.tasks[data.task[row]],
                prefix=plan[0],
                prefix_robot=plan[0],
            )
        )
        tokens = batch.tokens[place]
        assert sample.tokens == tokens[tokens != 0].tolist()
        np.testing.assert_array_equal(sample.state, batch.state[place])
        np.testing.assert_array_equal(sample.prefix, batch.chunk[place])


def test_limits_are_those_of_the_recorded_actions(tmp_path: Path) -> None:
    """A chunk never leaves them, and leaves them with limit_actions=false."""
    for limited in (True, False):
        trainer = pi_training(tiny(limit_actions=limited))
        trainer.save(tmp_path)
        policy = loaded(tmp_path, "pi05")
        action = pi_batches(trainer).data.action
        far = policy.steps.after(
            {"state": np.zeros(8, np.float32), "actions": np.full((8, 8), 50.0, np.float32)}
        )["actions"]
        assert bool((far <= action.max(0) + 1e-6).all()) == limited


def test_insulation_keeps_the_gradients_of_the_flow_from_the_language_model(base: str) -> None:
    """Vision tower, words and language model stay; every weight of the expert learns."""
    trainer = pi_training(tiny(base=base, insulate=True))
    before = {name: each.clone() for name, each in trainer.network.state_dict().items()}
    for _ in range(2):
        trainer.advance()
    outside = ("vision.", "words.", "language.")
    for name, weight in trainer.network.named_parameters():
        insulated = name.startswith(outside)
        assert (weight.grad is None) == insulated, name
        assert torch.equal(weight, before[name]) == insulated, name


def test_the_language_model_of_an_insulated_expert_learns_the_actions_as_words(
    tmp_path: Path,
) -> None:
    """Its loss falls, and what the expert loses changes nothing of its gradients."""
    tokens = str(write_action_tokenizer(tmp_path / "fast"))
    network = {**NETWORK, "words": 720}
    config = tiny(insulate=True, action_tokenizer=tokens, network=network, batch=2, steps=200)
    trainer = pi_training(config)
    losses = [trainer.advance()["words"] for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    batch, gradients = trainer.batches.draw(0), []
    for scale in (1.0, 3.0):
        trainer.network.zero_grad()
        trainer.loss(replace(batch, noise=batch.noise * scale))[0].backward()
        weight = trainer.network.get_parameter("language.blocks.0.query.weight")
        assert weight.grad is not None
        gradients.append(weight.grad.clone())
    assert torch.equal(*gradients) and float(gradients[0].abs().max()) > 0
    with pytest.raises(ValueError, match=r"no room beside the text's 260: set network\.words=708"):
        pi_training(tiny(insulate=True, action_tokenizer=tokens))


def test_a_base_of_the_other_family_is_refused(base: str) -> None:
    """The error says as what it can be trained."""
    with pytest.raises(PolicyError, match=r"not of pi0: .* train it as pi05"):
        pi_training(tiny("pi0", base=base))


def test_insulation_of_random_weights_is_refused() -> None:
    """Nothing would train the language model."""
    with pytest.raises(ValueError, match="insulate=true without an action_tokenizer: nothing"):
        pi_training(tiny(insulate=True))


def test_adapters_alone_are_trained_and_merged_into_the_checkpoint(
    base: str, tmp_path: Path
) -> None:
    """Layers of the transformers change, not their norms; so does what `freeze` leaves out."""
    lora = LoraConfig(rank=2, alpha=2.0)
    freeze = ("words.*", "language.*", "expert.*")
    trainer = pi_training(tiny(base=base, lora=lora, freeze=freeze, ema=0.0, rate=0.02))
    trainer.save(tmp_path / "fresh")
    original = read_weights(base)
    for name, value in read_weights(tmp_path / "fresh").items():
        np.testing.assert_array_equal(value, original[name], err_msg=name)
    for _ in range(3):
        trainer.advance()
    trainer.save(tmp_path / "run")
    stored = read_weights(tmp_path / "run")
    assert stored.keys() == original.keys()
    moved = {name for name, value in stored.items() if not np.array_equal(value, original[name])}
    layers = "paligemma_with_expert.gemma_expert.model.layers.0."
    assert f"{layers}self_attn.q_proj.weight" in moved and "action_in_proj.weight" in moved
    assert any("vision_tower" in name for name in moved)
    frozen = [name for name in moved if "dense" in name or "gemma_expert.model.norm" in name]
    assert not frozen
    policy = loaded(tmp_path / "run", "pi05")
    (chunk,) = policy.predict_chunk([policy.spec.example()])
    assert np.isfinite(chunk.robot).all()


def test_a_training_begins_with_the_weights_of_openpis_files(tmp_path: Path) -> None:
    """Sizes, weights and tokenizer are the directory's; a chunk may have another length."""
    folder = write_openpi_checkpoint(tmp_path / "openpi", "pi05")
    config = tiny(base=str(folder), tokenizer="", network={}, chunk_size=6, looks=1)
    trainer = pi_training(config)
    trainer.save(tmp_path / "run")
    stored, given = read_weights(tmp_path / "run"), read_weights_of(folder)
    for name, value in stored.items():
        np.testing.assert_array_equal(value, given[name], err_msg=name)
    assert (tmp_path / "run" / "tokenizer.model").read_bytes() == (
        folder / "tokenizer.model"
    ).read_bytes()
    assert loaded(tmp_path / "run", "pi05").spec.chunk_size == 6


def test_prompts_may_have_any_length_that_a_state_gives_them(tmp_path: Path) -> None:
    """Byte pairs make 255 one token and 137 three: each batch is as long as its longest prompt."""
    folder = write_openpi_checkpoint(tmp_path / "openpi", "pi05")
    batches = pi_training(tiny(base=str(folder), tokenizer="", network={}, batch=2)).batches
    lengths = {batches.draw(number).tokens.shape[1] for number in range(8)}
    assert len(lengths) > 1


def read_weights_of(folder: Path) -> dict[str, Any]:
    """Of openpi's files, with the words by either name."""
    found = read_weights(folder)
    tied = "paligemma_with_expert.paligemma.lm_head.weight"
    return {
        **found,
        "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight": found[tied],
    }


def test_a_part_of_a_base_is_taken_by_patterns(base: str) -> None:
    """The head begins anew, all else is the base's; a pattern without a match is refused."""
    trainer = pi_training(tiny(base=base, base_weights=("*", "!head.*")), seed=9)
    given = read_weights(base)
    for name, weight in trainer.network.named_parameters():
        same = np.array_equal(weight.detach().numpy(), given[published_name(name, "pi05")])
        assert same != name.startswith("head."), name
    for patterns in (("hand.*",), ("*", "!hand.*")):
        with pytest.raises(PolicyError, match=r"no weight matches hand\.\*; there are"):
            pi_training(tiny(base=base, base_weights=patterns))


def test_statistics_of_the_base_are_kept(base: str) -> None:
    """A base that is trained further on other data keeps the scale of its actions."""
    from holdfast.tools.training.chosen_statistics import _of_base

    trainer = pi_training(tiny(base=base))
    spec = trainer.batches.description.spec
    stats = _of_base(tiny(base=base, statistics="base"), spec)
    assert stats == pi_training(tiny(), seed=1).batches.stats


@pytest.mark.parametrize("looks", [1, 3])
def test_a_prefix_is_computed_once_for_all_looks(looks: int) -> None:
    """The loss is that of every noisy chunk alone."""
    trainer = pi_training(tiny(looks=looks, max_prefix_steps=0))
    batch = trainer.batches.draw(0)
    with torch.no_grad():
        together = float(trainer.loss(batch)[0])
        alone = pi_training(tiny(looks=1, max_prefix_steps=0))
        alone.network.load_state_dict(trainer.network.state_dict())
        parts = []
        for look in range(looks):
            own = slice(look, None, looks)
            part = replace(
                batch,
                **{
                    name: getattr(batch, name)[own]
                    for name in ("chunk", "given", "counts", "time", "noise")
                },
            )
            loss, weight = float(alone.loss(part)[0]), float(part.counts.sum())
            parts.append((loss, weight))
    total = sum(weight for _, weight in parts)
    assert together == pytest.approx(sum(a * b for a, b in parts) / total, rel=1e-5)


def test_the_description_can_be_read_by_other_programs(tmp_path: Path) -> None:
    """config.json has the sizes of the network and the command that made it."""
    pi_training(tiny()).save(tmp_path, command="holdfast-train pi05_small")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["kind"] == "pi05" and config["network"]["expert"]["width"] == 16
    assert config["training"]["command"] == "holdfast-train pi05_small"


def test_a_save_that_is_interrupted_leaves_every_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokenizer too, which is written at each save: a service may read it meanwhile."""
    trainer = pi_training(tiny())
    trainer.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "tokenizer.json" in before

    def half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="disk is full"):
        trainer.save(tmp_path)
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content, name

"""A small checkpoint of π0, π0.5 or π0-FAST in openpi's form, with tokenizers that a test
trains."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import numpy as np
import sentencepiece
import tokenizers
import torch
from safetensors.torch import save_file

from holdfast.policy.normalize import Stats
from holdfast.policy.pi0.architecture import Architecture
from holdfast.policy.pi0.fast_network import FastNetwork
from holdfast.policy.pi0.pali_gemma import PaliGemma
from holdfast.policy.pi0.pi_network import PiNetwork
from holdfast.policy.pi0.tensor_names import WORDS, WORDS_OUT, published_name
from holdfast.policy.pi0.word_pieces import MODEL
from holdfast.policy.steps import Embodiment, libero, write_norm_stats
from holdfast.tests.peers.key_weights import weights_of
from holdfast.tests.peers.small_pi0 import SMALL

NETWORKS: dict[str, type[PaliGemma]] = {"pi0_fast": FastNetwork}
STEPS = SMALL["pi0"].steps


def write_openpi_checkpoint(
    folder: Path,
    family: str,
    robot: Embodiment | None = None,
    architecture: Architecture | None = None,
) -> Path:
    """The directory, for LIBERO and of the sizes `SMALL` unless others are given. The words of π0
    and π0.5 stand as `lm_head`, to which openpi's converter ties them."""
    robot = robot or libero()
    small = architecture or SMALL[family]
    tensors = {
        published_name(name, small.family): torch.from_numpy(
            weights_of(published_name(name, small.family), tuple(value.shape))
        )
        for name, value in NETWORKS.get(family, PiNetwork)(small).named_parameters()
    }
    if family != "pi0_fast":  # Whose likeliest word would else be the one before.
        tensors[WORDS_OUT] = tensors.pop(WORDS)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    sizes = {k: v for k, v in msgspec.to_builtins(small).items() if k not in ("family", "steps")}
    config = {"action_horizon": small.steps, "action_dim": small.actions, "architecture": sizes}
    (folder / "config.json").write_text(json.dumps(config))
    states, actions = len(robot.state_names), len(robot.action_names)
    write_norm_stats(folder / "assets" / "lab", {"state": stats(states), "actions": stats(actions)})
    (folder / MODEL).write_bytes(trained_pieces())
    if family == "pi0_fast":
        write_action_tokenizer(folder / "fast")
    return folder


def write_action_tokenizer(folder: Path, least: int = -40) -> Path:
    """One that was trained on chunks of waves, some letters of which have two bytes."""
    folder.mkdir(parents=True)
    (folder / "processor_config.json").write_text(json.dumps({"scale": 10.0, "min_token": least}))
    rng = np.random.default_rng(0)
    # All letters, with those of the coefficient 0 as often as in a chunk.
    letters = [chr(int(max(0, c - least))) for c in np.rint(rng.normal(0, 20, 4000))]
    texts = ["".join(letters[k : k + 40]) + chr(-least) * 60 for k in range(0, 4000, 40)]
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(texts, vocab_size=320, min_frequency=2, show_progress=False)
    made.save(str(folder / "tokenizer.json"))
    return folder


def stats(size: int) -> Stats:
    """From -1 to 1 by quantiles, of a mean of 0."""
    return Stats(mean=(0.0,) * size, std=(0.5,) * size, q01=(-1.0,) * size, q99=(1.0,) * size)


def trained_pieces(words: int = 60) -> bytes:
    """A SentencePiece model with PaliGemma's special tokens, and fewer words than `SMALL`."""
    text = ["Task: pick the red parcel, State: 12 0 255 7 93;", "Action: open the drawer 4 6 8"]
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text * 4),
        model_writer=made,
        vocab_size=words,
        model_type="bpe",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        normalization_rule_name="identity",  # as PaliGemma's
        minloglevel=2,
    )
    return made.getvalue()

"""A small checkpoint of π0 or π0.5 in openpi's form, with a tokenizer that a test trains."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import sentencepiece
import torch
from safetensors.torch import save_file

from holdfast.policy.normalize import Stats
from holdfast.policy.pi0.pi_network import PiNetwork
from holdfast.policy.pi0.tensor_names import WORDS, WORDS_OUT, published_name
from holdfast.policy.pi0.word_pieces import MODEL
from holdfast.policy.steps import Embodiment, libero, write_norm_stats
from holdfast.tests.peers.key_weights import weights_of
from holdfast.tests.peers.small_pi0 import SMALL

STEPS = SMALL["pi0"].steps


def write_openpi_checkpoint(folder: Path, family: str, robot: Embodiment | None = None) -> Path:
    """The directory, for LIBERO unless `robot` is another. The words stand as `lm_head`, to which
    openpi's converter ties them."""
    robot = robot or libero()
    small = SMALL[family]
    tensors = {
        published_name(name, small.family): torch.from_numpy(
            weights_of(published_name(name, small.family), tuple(value.shape))
        )
        for name, value in PiNetwork(small).named_parameters()
    }
    tensors[WORDS_OUT] = tensors.pop(WORDS)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    sizes = {k: v for k, v in msgspec.to_builtins(small).items() if k not in ("family", "steps")}
    config = {"action_horizon": small.steps, "action_dim": small.actions, "architecture": sizes}
    (folder / "config.json").write_text(json.dumps(config))
    states, actions = len(robot.state_names), len(robot.action_names)
    write_norm_stats(folder / "assets" / "lab", {"state": stats(states), "actions": stats(actions)})
    (folder / MODEL).write_bytes(trained_pieces())
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
        minloglevel=2,
    )
    return made.getvalue()

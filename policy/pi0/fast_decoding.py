"""The likeliest tokens of a chunk, each among those that can still lead to a whole chunk.

A free choice can end early, go on for too long or leave the vocabulary of actions; openpi and
LeRobot then cut the coefficients or fill them up with zeros, and the robot executes what results.
Here each token is chosen among those whose coefficients still fit; the chunk ends when it is whole.
A chunk that is not whole after the most tokens is malformed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import PolicyError
from .action_tokens import ActionTokens
from .fast_network import FastNetwork, StaticCache
from .pali_gemma import Prefix

SKIPPED = 128
"""Words at the end of PaliGemma's vocabulary that stand for no action: those of segmentation.
Source: openpi 15a9616, `src/openpi/models/tokenizer.py`."""


class ActionWords:
    """The action tokens as words of `network`, from the end of its vocabulary on. Raises
    PolicyError where it has too few."""

    def __init__(self, tokens: ActionTokens, network: FastNetwork) -> None:
        words, device = network.architecture.words, network.words_out.weight.device
        if words <= SKIPPED + len(tokens.letters):
            raise PolicyError(
                f"{tokens.files[0]} has {len(tokens.letters)} tokens, and the model {words} words, "
                f"{SKIPPED} of which stand for no action: it is another model's action tokenizer"
            )
        self.words: Int[Tensor, " n"] = (
            words - 1 - SKIPPED - torch.arange(len(tokens.letters), device=device)
        )
        self.rows = network.words_out.weight[self.words]
        self.letters = torch.from_numpy(tokens.letters).to(device)
        self.begins = torch.from_numpy(tokens.begins).to(device)
        self.ends = torch.from_numpy(tokens.ends).to(device)


def decode(
    network: FastNetwork,
    prefix: Prefix,
    before: Sequence[int],
    words: ActionWords,
    letters: int,
    most: int,
) -> list[list[int] | None]:
    """The action tokens of each sample, which have so many `letters`; None where `most` tokens were
    not enough. `before` are the words between the text and the first of them."""
    batch, device = len(prefix.counts), prefix.counts.device
    cache = StaticCache.after(prefix, len(before) + most)
    given = torch.tensor(list(before), device=device).expand(batch, -1)
    hidden = network.extend(cache, given)
    left = torch.full((batch,), letters, device=device)
    within = torch.zeros(batch, dtype=torch.bool, device=device)
    unfinished = torch.ones(batch, dtype=torch.bool, device=device)
    chosen: list[Tensor] = []
    for _ in range(most):
        scores = (hidden[:, -1] @ words.rows.t()).float()
        fits = (words.letters <= left[:, None]) & (words.begins == within[:, None])
        best = scores.masked_fill(~fits, -torch.inf).argmax(dim=1)
        unfinished &= fits.any(dim=1)
        chosen.append(torch.where(unfinished, best, -1))
        left = torch.where(unfinished, left - words.letters[best], left)
        within = torch.where(unfinished, words.ends[best], within)
        unfinished &= (left > 0) | within
        if not bool(unfinished.any()):
            break
        hidden = network.extend(cache, words.words[best][:, None])
    whole = ((left == 0) & ~within).tolist()
    rows = torch.stack(chosen, dim=1).tolist()
    return [
        [token for token in row if token >= 0] if done else None
        for row, done in zip(rows, whole, strict=True)
    ]

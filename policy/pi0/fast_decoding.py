"""The likeliest tokens of a chunk, each among those that can still lead to a whole chunk.

A free choice can end early, go on for too long or leave the vocabulary of actions; openpi and
LeRobot then cut the coefficients or fill them up with zeros, and the robot executes what results.
Here each token is chosen among those whose coefficients still fit; the chunk ends when it is whole.
A chunk that is not whole after the most tokens is malformed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import PolicyError
from ..graphs import GraphedFunction
from .action_tokens import ActionTokens
from .fast_network import FastNetwork, StaticCache
from .image_preparation import prepared

SKIPPED = 128
"""Words at the end of PaliGemma's vocabulary that stand for no action: those of segmentation.
Source: openpi 15a9616, `src/openpi/models/tokenizer.py`."""


class ActionWords:
    """The action tokens as words of `network`, from the end of its vocabulary on. Raises
    PolicyError where it has too few.

    Attributes:
        words: the word of each action token.
        rows: the rows of the output layer of these words [n, w].
        letters, begins, ends: see `ActionTokens`.
    """

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


class FastDecoder:
    """Chunks of so many `letters` in at most `most` action tokens; `before` are the words between a
    text and the first of them.

    On a GPU, the prefix of a batch is one graph and each further word the replay of another one.
    Both have the addresses of a cache, so that all texts have one length while `captures`.
    """

    def __init__(
        self,
        network: FastNetwork,
        words: ActionWords,
        before: Sequence[int],
        letters: int,
        most: int,
        graphs: object = "auto",
    ) -> None:
        self.network, self.words = network, words
        self._letters, self._most = letters, most
        device = network.words_out.weight.device
        self._before = torch.tensor(list(before), device=device)
        self._caches: dict[torch.Size, StaticCache] = {}
        """By the shape of the texts; where nothing is captured, the last one's alone."""
        self._cache: StaticCache
        """That of the present batch."""
        self.begun = GraphedFunction.on(device, self.begin, graphs)
        self.scored = GraphedFunction.on(device, self.score, graphs)

    @property
    def captures(self) -> bool:
        """Whether the prefix or the words are captured where that succeeds."""
        return self.begun.captures or self.scored.captures

    @property
    def execution(self) -> str:
        """How the network runs, for the status."""
        prefix, words = self.begun.state, self.scored.state
        return words if prefix == words else f"prefix: {prefix}; words: {words}"

    def begin(self, *inputs: Tensor) -> Tensor:
        """Put the prefix of a batch into its cache: images [b, h, w, 3] of each view, then the
        tokens of the texts [b, length] and which of them count. Returns the values of the last
        layer."""
        *views, tokens, counts = inputs
        pixels = self.network.architecture.vision.pixels
        dtype = self.network.words_out.weight.dtype
        images = [prepared(view, pixels).to(dtype) for view in views]
        all_count = torch.ones(len(tokens), len(views), dtype=torch.bool, device=tokens.device)
        prefix = self.network.prefix(images, all_count, tokens, counts)
        if tokens.shape not in self._caches:
            if not self.captures:
                self._caches.clear()
            self._caches[tokens.shape] = StaticCache(prefix, len(self._before) + self._most)
        self._caches[tokens.shape].begin(prefix)
        return prefix.layers[-1][1]

    def score(self, words: Int[Tensor, "b m"], places: Int[Tensor, " m"]) -> Float[Tensor, "b n"]:
        """How likely each of the action tokens is after `words`, which the cache then has at
        `places`."""
        hidden = self.network.extend(self._cache, words, places)
        return (hidden[:, -1] @ self.words.rows.t()).float()

    def decode(self, *inputs: Tensor) -> list[list[int] | None]:
        """The action tokens of each sample, from the inputs of `begin`; None where the most tokens
        were not enough."""
        self.begun(*inputs)
        self._cache = self._caches[inputs[-1].shape]
        batch, known, device = len(inputs[-1]), len(self._before), self._before.device
        places = self._cache.places
        words, now = self._before.expand(batch, -1), places[:known]
        left = torch.full((batch,), self._letters, device=device)
        within = torch.zeros(batch, dtype=torch.bool, device=device)
        unfinished = torch.ones(batch, dtype=torch.bool, device=device)
        chosen: list[Tensor] = []
        for k in range(known, known + self._most):
            fits = self._fits(left, within)
            best = self.scored(words, now).masked_fill(~fits, -torch.inf).argmax(dim=1)
            unfinished &= fits.any(dim=1)
            chosen.append(torch.where(unfinished, best, -1))
            left = torch.where(unfinished, left - self.words.letters[best], left)
            within = torch.where(unfinished, self.words.ends[best], within)
            unfinished &= (left > 0) | within
            if not bool(unfinished.any()):
                break
            words, now = self.words.words[best][:, None], places[k : k + 1]
        whole = ((left == 0) & ~within).tolist()
        rows = torch.stack(chosen, dim=1).tolist()
        return [
            [token for token in row if token >= 0] if done else None
            for row, done in zip(rows, whole, strict=True)
        ]

    def _fits(self, left: Int[Tensor, " b"], within: Bool[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Which tokens can come next, where so many letters are left and the last one is whole or
        `within`."""
        return (self.words.letters <= left[:, None]) & (self.words.begins == within[:, None])

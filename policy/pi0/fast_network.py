"""The network of π0-FAST: PaliGemma goes on with the tokens of actions, one after another.

A token sees images, text and the tokens before it. Source: arXiv 2501.09747; openpi 15a9616,
`src/openpi/models/pi0_fast.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .architecture import Architecture
from .gemma import KeysValues
from .pali_gemma import PaliGemma, Prefix, score_bias


@dataclass
class StaticCache:
    """Keys and values of fixed length for a prefix and the tokens after it: a token is written in
    its place, and `counts` [b, n] says which places are in use."""

    layers: list[KeysValues]
    counts: Bool[Tensor, "b n"]
    used: int

    @classmethod
    def after(cls, prefix: Prefix, most: int) -> Self:
        """With room for `most` tokens after `prefix`."""

        def longer(x: Tensor) -> Tensor:
            return torch.cat((x, x.new_zeros(*x.shape[:2], most, x.shape[3])), dim=2)

        counts = prefix.counts
        room = counts.new_zeros(len(counts), most)
        return cls(
            [(longer(keys), longer(values)) for keys, values in prefix.layers],
            torch.cat((counts, room), dim=1),
            counts.shape[1],
        )

    def write(self, layers: list[KeysValues]) -> None:
        """Add the next tokens."""
        end = self.used + layers[0][0].shape[2]
        for (keys, values), (new_keys, new_values) in zip(self.layers, layers, strict=True):
            keys[:, :, self.used : end] = new_keys
            values[:, :, self.used : end] = new_values
        self.counts[:, self.used : end] = True
        self.used = end


class FastNetwork(PaliGemma):
    """PaliGemma with its output layer."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.words_out = nn.Linear(architecture.language.width, architecture.words, bias=False)

    def extend(self, cache: StaticCache, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        """The tokens after the last norm; the cache then has them too."""
        batch, length = tokens.shape
        x = self.embedded(tokens).to(cache.layers[0][0].dtype)
        steps = torch.arange(length, device=tokens.device)
        positions = cache.counts.sum(1, keepdim=True) + steps
        own = (steps[:, None] >= steps).expand(batch, -1, -1)
        seen = torch.cat((cache.counts[:, None, :].expand(-1, length, -1), own), dim=2)
        x, layers = self.language(x, positions, score_bias(seen, x.dtype), cache.layers)
        cache.write(layers)
        hidden: Tensor = x
        return hidden

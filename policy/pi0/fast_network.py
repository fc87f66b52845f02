"""The network of π0-FAST: PaliGemma goes on with the tokens of actions, one after another.

A token sees images, text and the tokens before it. Source: arXiv 2501.09747; openpi 15a9616,
`src/openpi/models/pi0_fast.py`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .architecture import Architecture
from .gemma import KeysValues
from .pali_gemma import PaliGemma, Prefix, score_bias


class StaticCache:
    """Keys and values of a batch in tensors that stay: n places for a prefix, then one for each of
    `most` words. A CUDA graph reads and writes them where they are.

    Attributes:
        layers: for each layer, keys and values [b, key_heads, n + most, head].
        counts: which places of the prefix count [b, n + most]; none of the words'.
    """

    def __init__(self, prefix: Prefix, most: int) -> None:
        def longer(x: Tensor) -> Tensor:
            return torch.cat((x, x.new_zeros(*x.shape[:2], most, x.shape[3])), dim=2)

        batch, self._prefix_places = prefix.counts.shape
        self.layers: list[KeysValues] = [(longer(k), longer(v)) for k, v in prefix.layers]
        room = prefix.counts.new_zeros(batch, most)
        self.counts = torch.cat((prefix.counts, room), dim=1)
        self.places: Int[Tensor, " most"] = self._prefix_places + torch.arange(
            most, device=prefix.counts.device
        )
        """Those of the words."""

    def begin(self, prefix: Prefix) -> None:
        """Hold another prefix of the same size; the words are forgotten."""
        end = self._prefix_places
        self.counts[:, :end] = prefix.counts
        for ours, given in zip(self.layers, prefix.layers, strict=True):
            for whole, part in zip(ours, given, strict=True):
                whole[:, :, :end] = part

    def before(self, places: Int[Tensor, " m"]) -> Tensor:
        """Which places [b, n + most] a word at the first of `places` sees."""
        every = torch.arange(self.counts.shape[1], device=places.device)
        return self.counts | ((every >= self._prefix_places) & (every < places[0]))

    def write(self, places: Int[Tensor, " m"], layers: list[KeysValues]) -> None:
        """Put keys and values of m words at their places."""
        for ours, given in zip(self.layers, layers, strict=True):
            for whole, part in zip(ours, given, strict=True):
                whole.index_copy_(2, places, part)


class FastNetwork(PaliGemma):
    """PaliGemma with its output layer."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.words_out = nn.Linear(architecture.language.width, architecture.words, bias=False)

    def extend(
        self, cache: StaticCache, words: Int[Tensor, "b m"], places: Int[Tensor, " m"]
    ) -> Float[Tensor, "b m w"]:
        """The tokens of `words` after the last norm. The cache then has them at `places`, which are
        the next ones after those before; the same call again gives the same."""
        batch, length = words.shape
        x = self.embedded(words).to(cache.layers[0][0].dtype)
        before = cache.before(places)
        steps = torch.arange(length, device=words.device)
        positions = before.sum(1, keepdim=True) + steps
        own = (steps[:, None] >= steps).expand(batch, -1, -1)
        seen = torch.cat((before[:, None, :].expand(-1, length, -1), own), dim=2)
        bias = score_bias(seen, x.dtype, self.language.sizes.shared)
        rotation = self.language.rotation(positions, x.dtype)
        x, layers = self.language(x, rotation, bias, cache.layers)
        cache.write(places, layers)
        hidden: Tensor = x
        return hidden

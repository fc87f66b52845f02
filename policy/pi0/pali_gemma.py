"""`PaliGemma`: images and a text to the keys and values that a model continues from.

The tokens of the images and of the text attend to each other in both directions. Nothing in them
sees what comes after, so their keys and values are computed once. Source: arXiv 2407.07726.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .architecture import Architecture
from .gemma import Gemma, GemmaBlock, KeysValues
from .vision_tower import VisionBlock, VisionTower

MASKED = -2.3819763e38
"""Added to a score that does not count. Finite: where nothing counts, a token has an average of all
instead of NaN."""


def score_bias(
    seen: Bool[Tensor, "b r m"], dtype: torch.dtype, shared: int
) -> Float[Tensor, "b 1 #q m"]:
    """What is added to the scores, from who sees whom: one row for all tokens (r = 1), or one for
    each of the `shared` queries of each token, which have the same head of keys."""
    # No torch.where of two numbers: it makes tensors on the host, which a CUDA graph cannot hold.
    nothing = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    bias = nothing.masked_fill(~seen, MASKED)[:, None]
    return bias if seen.shape[1] == 1 else bias.repeat_interleave(shared, dim=2)


class Prefix(NamedTuple):
    """What the tokens after images and text see of these: keys and values by layer, and which of
    the tokens count [b, n]."""

    layers: list[KeysValues]
    counts: Bool[Tensor, "b n"]


class PaliGemma(nn.Module):
    """The vision tower, the words and the language model."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        language = architecture.language
        self.vision = VisionTower(architecture.vision, language.width)
        self.words = nn.Embedding(architecture.words, language.width)
        self.language = Gemma(language)

    def join(self) -> None:
        """Compute layers of one input by one product from now on (`JoinedLayers`)."""
        for module in self.modules():
            if isinstance(module, VisionBlock | GemmaBlock):
                module.join()

    def embedded(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        """The tokens of a text as the language model takes them."""
        scaled: Tensor = self.words(tokens) * math.sqrt(self.words.embedding_dim)
        return scaled

    def prefix(
        self,
        images: Sequence[Float[Tensor, "b 3 y x"]],
        image_counts: Bool[Tensor, "b views"],
        tokens: Int[Tensor, "b length"],
        token_counts: Bool[Tensor, "b length"],
    ) -> Prefix:
        """Keys and values of images, -1 to 1, and text. What does not count is as if it were not
        there: the positions of the others do not depend on it."""
        batch, each = len(tokens), torch.stack(tuple(images), dim=1).flatten(0, 1)
        views = self.vision(each).view(batch, -1, self.language.sizes.width)
        x = torch.cat((views, self.embedded(tokens).to(views.dtype)), dim=1)
        per_view = image_counts.repeat_interleave(self.architecture.vision.tokens, dim=1)
        counts = torch.cat((per_view, token_counts), dim=1)
        rotation = self.language.rotation(counts.cumsum(1) - 1, x.dtype)
        bias = score_bias(counts[:, None], x.dtype, self.language.sizes.shared)
        return Prefix(self.language.keys_values(x, rotation, bias), counts)

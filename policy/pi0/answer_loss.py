"""The loss by which the language model of an insulated π0.5 learns the actions as words.

The words of an answer follow the prefix, each sees those before it, and the expert sees none of
them: what it attends to is the prefix (knowledge insulation, arXiv 2505.23705). What differs from
the paper: there are no other data than those of robots.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .pali_gemma import PaliGemma, Prefix, score_bias


def answer_loss(
    network: PaliGemma, prefix: Prefix, answer: Int[Tensor, "b n"], pad: int
) -> Float[Tensor, ""]:
    """The mean cross-entropy of each word of `answer` but the first, which begins it, after those
    before it. Words are scored by their embeddings; `pad` does not count."""
    given, wanted = answer[:, :-1], answer[:, 1:]
    x = network.embedded(given)
    batch, length = given.shape
    steps = torch.arange(length, device=x.device)
    own = (steps[:, None] >= steps).expand(batch, -1, -1)
    seen = torch.cat((prefix.counts[:, None, :].expand(-1, length, -1), own), dim=2)
    positions = prefix.counts.sum(1, keepdim=True) + steps
    rotation = network.language.rotation(positions, x.dtype)
    bias = score_bias(seen, x.dtype, network.language.sizes.shared)
    x, _ = network.language(x, rotation, bias, prefix.layers)
    counts = wanted != pad
    scores = F.linear(x[counts], network.words.weight)
    return F.cross_entropy(scores.float(), wanted[counts])

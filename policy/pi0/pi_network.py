"""The network of π0 and π0.5: the prefix once, then a velocity for each Euler step.

The prefix is the tokens of the images and of the text; it attends to itself in both directions.
The suffix is the expert's tokens (`flow_head`), which attend to the prefix and to each other.
Nothing in the prefix sees the suffix, so its keys and values are computed once for all steps.

Time runs from 1 (noise) to 0 (actions), as in openpi.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .architecture import Architecture
from .flow_head import FlowHead
from .gemma import Gemma, KeysValues
from .vision_tower import VisionTower

MASKED = -2.3819763e38
"""Added to a score that does not count. Finite, so that a token which may see nothing has an
average of all instead of NaN; no token that counts sees that one."""


def score_bias(seen: Bool[Tensor, "b n m"], dtype: torch.dtype) -> Float[Tensor, "b 1 n m"]:
    """What is added to the scores, from who sees whom."""
    # No torch.where of two numbers: it makes tensors on the host, which a CUDA graph cannot hold.
    nothing = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return nothing.masked_fill(~seen, MASKED)[:, None]


class Prefix(NamedTuple):
    """What the expert sees of images and text: keys and values by layer, and which of the tokens
    count [b, n]."""

    layers: list[KeysValues]
    counts: Bool[Tensor, "b n"]


class PiNetwork(nn.Module):
    """The vision tower, the language model, the action expert and the flow's head."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        language = architecture.language
        self.vision = VisionTower(architecture.vision, language.width)
        self.words = nn.Embedding(architecture.words, language.width)
        self.language = Gemma(language)
        self.expert = Gemma(architecture.expert, adaptive=architecture.family == "pi05")
        self.head = FlowHead(architecture)

    def prefix(
        self,
        images: Sequence[Float[Tensor, "b 3 y x"]],
        image_counts: Bool[Tensor, "b views"],
        tokens: Int[Tensor, "b length"],
        token_counts: Bool[Tensor, "b length"],
    ) -> Prefix:
        """Keys and values of images, -1 to 1, and text. What does not count is as if it were not
        there: the positions of the others do not depend on it."""
        views = [self.vision(image) for image in images]
        words = self.words(tokens) * math.sqrt(self.words.embedding_dim)
        x = torch.cat((*views, words.to(views[0].dtype)), dim=1)
        per_view = image_counts.repeat_interleave(self.architecture.vision.tokens, dim=1)
        counts = torch.cat((per_view, token_counts), dim=1)
        positions = counts.cumsum(1) - 1
        seen = counts[:, None, :] & counts[:, :, None]
        _, layers = self.language(x, positions, score_bias(seen, x.dtype))
        return Prefix(layers, counts)

    def velocity(
        self,
        prefix: Prefix,
        noisy: Float[Tensor, "b h a"],
        time: Float[Tensor, "b t"],
        state: Float[Tensor, "b s"],
    ) -> Float[Tensor, "b h a"]:
        """The direction from actions to noise at `noisy`; `time` is one for the chunk (t = 1) or
        one for each step (t = h). π0.5 ignores `state`."""
        x, condition = self.head.tokens(noisy, time, state)
        batch, length, _ = x.shape
        own = torch.ones(length, length, dtype=torch.bool, device=x.device)
        if self.architecture.family == "pi0":
            own[0, 1:] = False  # The state does not see the actions.
        seen = torch.cat(
            (
                prefix.counts[:, None, :].expand(-1, length, -1),
                own[None].expand(batch, -1, -1),
            ),
            dim=2,
        )
        steps = torch.arange(length, device=x.device)
        positions = prefix.counts.sum(1, keepdim=True) + steps
        bias = score_bias(seen, x.dtype)
        x, _ = self.expert(x, positions, bias, prefix.layers, condition)
        return self.head.velocity(x, noisy.shape[1])

    def sample(
        self,
        prefix: Prefix,
        noise: Float[Tensor, "b h a"],
        state: Float[Tensor, "b s"],
        euler_steps: int = 10,
    ) -> Float[Tensor, "b h a"]:
        """The chunk that the flow leads to from `noise`."""
        x = noise
        for step in range(euler_steps):
            time = torch.full_like(x[:, :1, 0], 1.0 - step / euler_steps)
            x = x - self.velocity(prefix, x, time, state) / euler_steps
        return x

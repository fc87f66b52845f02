"""SigLIP's vision transformer: one image to tokens of the language model's width.

Pre-norm blocks without a class token or pooling, positions learned, then a linear layer. Source:
arXiv 2303.15343; PaliGemma (arXiv 2407.07726) takes every token of the last layer.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .architecture import VisionSizes
from .joined_layers import JoinedLayers
from .recomputed import block_output

EPS = 1e-6


class VisionBlock(nn.Module):
    """Attention among all patches of an image, then an MLP."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.attention_norm = nn.LayerNorm(sizes.width, eps=EPS)
        self.query = nn.Linear(sizes.width, sizes.width)
        self.key = nn.Linear(sizes.width, sizes.width)
        self.value = nn.Linear(sizes.width, sizes.width)
        self.out = nn.Linear(sizes.width, sizes.width)
        self.mlp_norm = nn.LayerNorm(sizes.width, eps=EPS)
        self.widen = nn.Linear(sizes.width, sizes.mlp)
        self.narrow = nn.Linear(sizes.mlp, sizes.width)
        self.attended = JoinedLayers()

    def join(self) -> None:
        """See `GemmaBlock`."""
        self.attended = JoinedLayers.of(self.query, self.key, self.value)

    def forward(self, x: Float[Tensor, "b p w"]) -> Float[Tensor, "b p w"]:
        """The `p` tokens of each image after this layer, `w` wide."""
        y = self.attention_norm(x)
        parts = self.attended.together(y, self.query, self.key, self.value)
        # Each [b, heads, p, head].
        query, key, value = parts.view(*y.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        y = F.gelu(self.widen(self.mlp_norm(x)), approximate="tanh")
        out: Tensor = x + self.narrow(y)
        return out


class VisionTower(nn.Module):
    """Images of -1 to 1 to tokens; `width` is that of the language model."""

    def __init__(self, sizes: VisionSizes, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, sizes.width, sizes.patch, stride=sizes.patch)
        self.places = nn.Embedding(sizes.tokens, sizes.width)
        self.blocks = nn.ModuleList(VisionBlock(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width, eps=EPS)
        self.project = nn.Linear(sizes.width, width)
        self.recompute = False
        """As that of `Gemma`."""

    def forward(self, images: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b p width"]:
        """A token for each of the `p` patches, from the upper left, row by row."""
        x = self.patches(images).flatten(2).transpose(1, 2) + self.places.weight
        for block in self.blocks:
            x = block_output(block, x, recompute=self.recompute)
        tokens: Tensor = self.project(self.norm(x))
        return tokens

"""An ACT-style policy (arXiv 2304.13705): the whole chunk at once, by regression.

The flow policy's encoder, then a transformer from one learned query per step to the action, trained
on absolute error. It lacks the paper's variational latent, which matters for demonstrations of
several styles; ours are of one expert. It has no noise and no prefix: its chunks replace the
current plan without continuing it, or are blended into it where that is configured.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .checkpoint import Config
from .encoder import EncoderConfig, EncodingNetwork, Sizes
from .learned import LearnedPolicy, network_config
from .transformer import ChunkTransformer


class ActConfig(EncoderConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `network` of an ACT checkpoint's config.json."""

    layers: int = 3
    heads: int = 4
    patch: int = 4
    query_width: int = 8


class ActNetwork(EncodingNetwork):
    """The network of the ACT policy: observation vector to chunk."""

    def __init__(self, config: ActConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.queries = nn.Parameter(torch.randn(sizes.steps, config.query_width))
        self.decoder = ChunkTransformer(
            steps=sizes.steps,
            channels=config.query_width,
            actions=sizes.actions,
            patch=config.patch,
            width=config.width,
            layers=config.layers,
            heads=config.heads,
        )

    def chunk(self, seen: Float[Tensor, "b width"]) -> Float[Tensor, "b h a"]:
        """The chunk for the observation vector `seen`."""
        queries = self.queries.expand(len(seen), -1, -1)
        actions: Tensor = self.decoder(queries, seen, nn.functional.silu(seen))
        return actions

    def loss(
        self,
        seen: Float[Tensor, "b width"],
        chunk: Float[Tensor, "b h a"],
        given: Bool[Tensor, "b h"],
        counts: Bool[Tensor, "b h"],
        time: Float[Tensor, " b"],
        noise: Float[Tensor, "b h a"],
    ) -> Float[Tensor, ""]:
        """Mean absolute error over the steps that count and are not given; there is no noise."""
        # A mean of squares would blur a gripper's switch between two values.
        error = (self.chunk(seen) - chunk).abs().mean(-1)
        weight = (counts & ~given).to(error.dtype)
        return (error * weight).sum() / weight.sum().clamp(min=1.0)


class ActPolicy(LearnedPolicy):
    """An ACT checkpoint on one device."""

    network: ActNetwork

    def _network(self, config: Config) -> ActNetwork:
        return ActNetwork(network_config(config, ActConfig), Sizes.of(config))

    def _actions(self, seen: Tensor, *inputs: Tensor) -> Tensor:
        return self.network.chunk(seen)

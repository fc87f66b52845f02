"""The network of the flow-matching policy, and its training loss.

Flow matching (arXiv 2210.02747): a chunk x1 and noise x0 lie at the ends of a straight path
x_t = t x1 + (1-t) x0, and the network learns the direction x1 - x0 from x_t. It predicts x1 itself,
from which the direction is (x1 - x_t) / (1 - t): a chunk is far simpler than noise, and a small
network spends its precision on the part that moves the arm.

Training-time prefix conditioning (arXiv 2512.05964): for a random number of first steps the network
is given the executed actions, clean and at t = 1, and learns the rest. It then continues the
current plan at any delay, without additional cost at inference.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .encoder import EncoderConfig, EncodingNetwork, Sizes
from .transformer import ChunkTransformer, sinusoid

CLEAN = 1.0
"""The time of steps that are given: x_t at t = 1 is the chunk itself."""

MIN_LEFT = 1e-3
"""The least rest of the path that the direction divides by; sampling stays farther from its end."""


class FlowConfig(EncoderConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `network` of a flow checkpoint's config.json."""

    layers: int = 3
    heads: int = 4
    patch: int = 4
    euler_steps: int = 5


class FlowNetwork(EncodingNetwork):
    """The network of the flow policy: observation vector and noisy chunk to a clean chunk."""

    def __init__(self, config: FlowConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.euler_steps = config.euler_steps
        self.time = nn.Sequential(
            nn.Linear(64, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        # Each step has its own time beside its action.
        self.denoiser = ChunkTransformer(
            steps=sizes.steps,
            channels=sizes.actions + 1,
            actions=sizes.actions,
            patch=config.patch,
            width=config.width,
            layers=config.layers,
            heads=config.heads,
        )

    def clean(
        self,
        seen: Float[Tensor, "b width"],
        noisy: Float[Tensor, "b h a"],
        time: Float[Tensor, " b"],
        given: Bool[Tensor, "b h"] | None = None,
    ) -> Float[Tensor, "b h a"]:
        """The chunk x1 predicted from `noisy` at `time`; steps that are `given` are clean."""
        times = time[:, None].expand(noisy.shape[:2])
        if given is not None:
            times = times.masked_fill(given, CLEAN)
        steps = torch.cat((noisy, 2 * times[..., None] - 1), dim=-1)
        condition = nn.functional.silu(seen + self.time(sinusoid(time, 64)))
        chunk: Tensor = self.denoiser(steps, seen, condition)
        return chunk

    def direction(
        self,
        seen: Float[Tensor, "b width"],
        noisy: Float[Tensor, "b h a"],
        time: Float[Tensor, " b"],
        given: Bool[Tensor, "b h"] | None = None,
    ) -> Float[Tensor, "b h a"]:
        """The flow's velocity at `noisy`, per unit of time."""
        left = (1.0 - time).clamp(min=MIN_LEFT)[:, None, None]
        return (self.clean(seen, noisy, time, given) - noisy) / left

    def loss(
        self,
        seen: Float[Tensor, "b width"],
        chunk: Float[Tensor, "b h a"],
        given: Bool[Tensor, "b h"],
        counts: Bool[Tensor, "b h"],
        time: Float[Tensor, " b"],
        noise: Float[Tensor, "b h a"],
    ) -> Float[Tensor, ""]:
        """Mean squared error of the chunk predicted from the path's point at `time`, which is
        uniform in [0, 1], over the steps that count and are not given."""
        # Measured on x1, early times, which are hard and which a long Euler step depends on, weigh
        # as much as late ones, and the loss stays finite as t approaches 1.
        t = time[:, None, None]
        noisy = torch.where(given[..., None], chunk, t * chunk + (1 - t) * noise)
        error = (self.clean(seen, noisy, time, given) - chunk).square().mean(-1)
        weight = (counts & ~given).to(error.dtype)
        return (error * weight).sum() / weight.sum().clamp(min=1.0)

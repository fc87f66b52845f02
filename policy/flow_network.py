"""The network of the flow-matching policy, and how it is trained.

Flow matching (arXiv 2210.02747): a chunk x1 and noise x0 lie at the ends of a straight path
x_t = t x1 + (1-t) x0, and the network learns the direction x1 - x0 from x_t. It predicts x1 itself,
from which the direction is (x1 - x_t) / (1 - t): what a demonstration says about a chunk is far
simpler than the noise, and a small network spends its precision on the part that moves the arm.

Training-time prefix conditioning (arXiv 2512.05964): for a random number of first steps the network
is given the actions that were really carried out, clean and at t = 1, and learns the rest. It then
continues whatever plan is under way, at any delay, for the price of nothing at inference.
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
"""The direction divides by what is left of the path; sampling never asks this close to its end."""


class FlowConfig(EncoderConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `network` of a flow checkpoint's config.json."""

    layers: int = 3
    heads: int = 4
    patch: int = 4
    euler_steps: int = 5


class FlowNetwork(EncodingNetwork):
    """Observation vector and noisy chunk to a clean one."""

    def __init__(self, config: FlowConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.euler_steps = config.euler_steps
        self.time = nn.Sequential(
            nn.Linear(64, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        # Beside its action every step carries its own time.
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
        """The chunk x1 guessed from `noisy` at `time`; steps that are `given` are clean already."""
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
        """The flow's velocity at `noisy`: where to go, per unit of time."""
        left = (1.0 - time).clamp(min=MIN_LEFT)[:, None, None]
        return (self.clean(seen, noisy, time, given) - noisy) / left

    def loss(
        self,
        seen: Float[Tensor, "b width"],
        chunk: Float[Tensor, "b h a"],
        given: Bool[Tensor, "b h"],
        counts: Bool[Tensor, "b h"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error of the guessed chunk.

        Time is drawn uniformly. Measured on x1, early times (hard, and what one long Euler step
        relies on) weigh as much as late ones, and nothing blows up as t nears 1.
        """
        time = torch.rand(len(chunk), generator=generator)
        noise = torch.randn(chunk.shape, generator=generator)
        t = time[:, None, None]
        noisy = torch.where(given[..., None], chunk, t * chunk + (1 - t) * noise)
        error = (self.clean(seen, noisy, time, given) - chunk).square().mean(-1)
        weight = (counts & ~given).to(error.dtype)
        return (error * weight).sum() / weight.sum().clamp(min=1.0)

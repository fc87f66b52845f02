"""From noise to a chunk that continues the plan of its robot, in both forms of real-time chunking.

Guided (arXiv 2506.07339) needs no training; with trained conditioning (arXiv 2512.05964) the steps
that are certain to be executed are given, each at the time 0 of finished actions. Every sample of a
batch has its own prefix, delay, weights and clip.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..policy_options import Jacobian
from ..rtc import guided_direction
from .pali_gemma import Prefix
from .pi_network import PiNetwork


def guided(
    network: PiNetwork,
    seen: Prefix,
    noise: Float[Tensor, "b h a"],
    state: Float[Tensor, "b s"],
    prefix: Float[Tensor, "b h a"],
    weights: Float[Tensor, "b h"],
    clips: Float[Tensor, " b"],
    euler_steps: int,
    jacobian: Jacobian,
) -> Float[Tensor, "b h a"]:
    """The chunk, pulled towards `prefix` in each step as strongly as `weights` and `clips` say."""
    x = noise
    for step in range(euler_steps):
        done = step / euler_steps
        time = torch.full_like(x[:, :1, 0], 1.0 - done)

        def clean(noisy: Tensor, time: Tensor = time) -> Tensor:
            return noisy - time[..., None] * network.velocity(seen, noisy, time, state)

        x = x + guided_direction(clean, x, done, prefix, weights, clips, jacobian) / euler_steps
    return x


def conditioned(
    network: PiNetwork,
    seen: Prefix,
    noise: Float[Tensor, "b h a"],
    state: Float[Tensor, "b s"],
    prefix: Float[Tensor, "b h a"],
    given: Bool[Tensor, "b h"],
    euler_steps: int,
) -> Float[Tensor, "b h a"]:
    """The chunk, of which the steps `given` are those of `prefix` exactly."""
    held = given[..., None]
    x = torch.where(held, prefix, noise)
    for step in range(euler_steps):
        time = torch.full_like(x[..., 0], 1.0 - step / euler_steps).masked_fill(given, 0.0)
        x = x - network.velocity(seen, x, time, state) / euler_steps
        x = torch.where(held, prefix, x)
    return x

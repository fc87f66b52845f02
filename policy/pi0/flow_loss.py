"""The loss of π0 and π0.5 on a path from actions to noise.

Source: openpi 15a9616, `src/openpi/models/pi0.py`, `compute_loss`. The steps of a given prefix are
at the time 0 of finished actions and do not count (arXiv 2512.05964).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .pali_gemma import Prefix
from .pi_network import PiNetwork

_LEAST, _SPAN = 0.001, 0.999


def training_times(uniform: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Times from 0.001 to 1 of the distribution Beta(1.5, 1), which are mostly noise, from numbers
    that are uniform from 0 to 1."""
    # The distribution function of Beta(1.5, 1) is x^1.5.
    return uniform ** (2 / 3) * _SPAN + _LEAST


def repeated(prefix: Prefix, times: int) -> Prefix:
    """Each sample's prefix so many times, one after the other: the prefix is computed once."""
    if times == 1:
        return prefix
    layers = [
        (keys.repeat_interleave(times, dim=0), values.repeat_interleave(times, dim=0))
        for keys, values in prefix.layers
    ]
    return Prefix(layers, prefix.counts.repeat_interleave(times, dim=0))


def insulated(prefix: Prefix) -> Prefix:
    """The same prefix, through which no gradient of the flow reaches the vision tower, the words
    and the language model (knowledge insulation, arXiv 2505.23705)."""
    return Prefix([(k.detach(), v.detach()) for k, v in prefix.layers], prefix.counts)


def flow_loss(
    network: PiNetwork,
    prefix: Prefix,
    state: Float[Tensor, "b s"],
    chunk: Float[Tensor, "b h a"],
    given: Bool[Tensor, "b h"] | None,
    counts: Bool[Tensor, "b h"],
    time: Float[Tensor, " b"],
    noise: Float[Tensor, "b h a"],
) -> Float[Tensor, ""]:
    """Mean squared error of the velocity between `chunk` and `noise` at `time`, over all values of
    the steps that count and are not given, padded ones included. `given` is None for a training
    without prefixes: one time for the whole chunk then costs less."""
    if given is None:
        times, learned = time[:, None], counts
    else:
        times = time[:, None].expand(given.shape).masked_fill(given, 0.0)
        learned = counts & ~given
    t = times[..., None]
    velocity = network.velocity(prefix, t * noise + (1 - t) * chunk, times, state)
    error = (velocity.float() - (noise - chunk)).square().mean(-1)
    weight = learned.to(error.dtype)
    return torch.as_tensor((error * weight).sum() / weight.sum().clamp(min=1.0))

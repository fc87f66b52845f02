"""From noise to a chunk that continues the plan of its robot, in both forms of real-time chunking.

Guided (arXiv 2506.07339) needs no training; with trained conditioning (arXiv 2512.05964) the steps
that are certain to be executed are given, each at the time 0 of finished actions. Every sample of a
batch has its own prefix, delay, weights and clip.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..policy_options import Jacobian
from ..rtc import guided_direction
from .pi_network import Moment, PiNetwork, Suffix


class Denoising:
    """So many Euler steps of `network` from noise to actions, at the `Suffix` of a batch; `flow` is
    its own, or the same compiled. The weights of the network stay as they are: what they make of
    the times is computed here."""

    def __init__(
        self, network: PiNetwork, euler_steps: int, flow: Callable[..., Tensor] | None = None
    ) -> None:
        self._steps, self._flow = euler_steps, flow or network.flow
        with torch.no_grad():
            self._moments = [network.settled(1.0 - k / euler_steps) for k in range(euler_steps)]
            self._finished = network.settled(0.0)

    def free(self, suffix: Suffix, noise: Float[Tensor, "b h a"]) -> Float[Tensor, "b h a"]:
        """The chunk that the flow leads to from `noise`."""
        x = noise
        for moment in self._moments:
            x = torch.sub(x, self._flow(suffix, x, moment), alpha=1 / self._steps)
        return x

    def guided(
        self,
        suffix: Suffix,
        noise: Float[Tensor, "b h a"],
        plan: Float[Tensor, "b h a"],
        weights: Float[Tensor, "b h"],
        clips: Float[Tensor, " b"],
        jacobian: Jacobian,
    ) -> Float[Tensor, "b h a"]:
        """The chunk, pulled towards `plan` in each step as strongly as `weights` and `clips`
        say."""

        def clean(noisy: Tensor, moment: Moment, time: float) -> Tensor:
            return torch.sub(noisy, self._flow(suffix, noisy, moment), alpha=time)

        x = noise
        for step, moment in enumerate(self._moments):
            done = step / self._steps
            at_end = partial(clean, moment=moment, time=1.0 - done)
            direction = guided_direction(at_end, x, done, plan, weights, clips, jacobian)
            x = torch.add(x, direction, alpha=1 / self._steps)
        return x

    def conditioned(
        self,
        suffix: Suffix,
        noise: Float[Tensor, "b h a"],
        plan: Float[Tensor, "b h a"],
        given: Bool[Tensor, "b h"],
    ) -> Float[Tensor, "b h a"]:
        """The chunk, of which the steps `given` are those of `plan` exactly."""
        held = given[..., None]
        x = torch.where(held, plan, noise)
        for moment in self._moments:
            each = moment.where(given, self._finished)
            x = torch.sub(x, self._flow(suffix, x, each), alpha=1 / self._steps)
            x = torch.where(held, plan, x)
        return x

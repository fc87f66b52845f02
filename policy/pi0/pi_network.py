"""The network of π0 and π0.5: the prefix once, then a velocity for each Euler step.

The suffix is the expert's tokens (`flow_head`), which attend to the prefix (`pali_gemma`) and to
each other. Time runs from 1 (noise) to 0 (actions), as in openpi.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .architecture import Architecture
from .flow_head import FlowHead
from .gemma import Gemma
from .pali_gemma import PaliGemma, Prefix, score_bias


class PiNetwork(PaliGemma):
    """PaliGemma, the action expert and the flow's head."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.expert = Gemma(architecture.expert, adaptive=architecture.family == "pi05")
        self.head = FlowHead(architecture)

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

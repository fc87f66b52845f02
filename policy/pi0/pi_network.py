"""The network of π0 and π0.5: the prefix once, then a velocity for each Euler step.

The suffix is the expert's tokens (`flow_head`), which attend to the prefix (`pali_gemma`) and to
each other. Time runs from 1 (noise) to 0 (actions), as in openpi. What is the same in all steps of
a chunk is computed once (`Suffix`), and so is what is the same in all chunks at a time (`Moment`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .architecture import Architecture
from .flow_head import FlowHead
from .gemma import Condition, Gemma, KeysValues, Modulations, Rotation
from .pali_gemma import PaliGemma, Prefix, score_bias


class Suffix(NamedTuple):
    """What the expert's tokens of a chunk see, and where they are: the same in each step."""

    before: list[KeysValues]
    bias: Float[Tensor, "b 1 #q m"]
    rotation: Rotation
    state: Float[Tensor, "b 1 w"] | None
    """π0's token of the state."""


class Moment(NamedTuple):
    """A time of the flow as the expert has it: waves (π0), or the condition of its norms (π0.5)."""

    waves: Float[Tensor, "b t w"]
    condition: Condition

    def where(self, given: Bool[Tensor, "b h"], other: Moment) -> Moment:
        """One for each step: that of `other` in the steps `given`. Both are settled ones of one
        time."""

        def chosen(ours: Tensor, others: Tensor) -> Tensor:
            return torch.where(given[..., None], others, ours)

        if self.condition is None:
            return Moment(chosen(self.waves, other.waves), None)
        assert isinstance(self.condition, Modulations)
        assert isinstance(other.condition, Modulations)
        return Moment(self.waves, Modulations(*map(chosen, self.condition, other.condition)))


class PiNetwork(PaliGemma):
    """PaliGemma, the action expert and the flow's head."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.expert = Gemma(architecture.expert, adaptive=architecture.family == "pi05")
        self.head = FlowHead(architecture)

    def suffix(self, prefix: Prefix, state: Float[Tensor, "b s"], steps: int) -> Suffix:
        """That of chunks with so many steps."""
        token = self.head.state_token(state)
        length = steps + (token is not None)
        own = torch.ones(1, length, dtype=torch.bool, device=state.device)
        if token is not None:
            own = own.repeat(length, 1)
            own[0, 1:] = False  # The state does not see the actions.
        seen = torch.cat(
            (
                prefix.counts[:, None, :].expand(-1, len(own), -1),
                own[None].expand(len(state), -1, -1),
            ),
            dim=2,
        )
        positions = prefix.counts.sum(1, keepdim=True) + torch.arange(length, device=state.device)
        bias = score_bias(seen, state.dtype, self.expert.sizes.shared)
        return Suffix(prefix.layers, bias, self.expert.rotation(positions, state.dtype), token)

    def moment(self, time: Float[Tensor, "b t"], dtype: torch.dtype) -> Moment:
        """One `time` for the chunk (t = 1) or one for each step (t = h)."""
        waves = self.head.waves(time, dtype)
        return Moment(waves, self.head.condition(waves))

    def settled(self, time: float) -> Moment:
        """The moment of all chunks at a `time`, with what the norms make of it."""
        weight = self.head.actions_out.weight
        moment = self.moment(torch.full((1, 1), time, device=weight.device), weight.dtype)
        if moment.condition is None:
            return moment
        assert isinstance(moment.condition, Tensor)
        return moment._replace(condition=self.expert.modulations(moment.condition))

    def flow(
        self, suffix: Suffix, noisy: Float[Tensor, "b h a"], moment: Moment
    ) -> Float[Tensor, "b h a"]:
        """The direction from actions to noise at `noisy`."""
        x = self.head.tokens(noisy, moment.waves, suffix.state)
        x, _ = self.expert(x, suffix.rotation, suffix.bias, suffix.before, moment.condition)
        return self.head.velocity(x, noisy.shape[1])

    def velocity(
        self,
        prefix: Prefix,
        noisy: Float[Tensor, "b h a"],
        time: Float[Tensor, "b t"],
        state: Float[Tensor, "b s"],
    ) -> Float[Tensor, "b h a"]:
        """`flow` at any times. π0.5 ignores `state`."""
        suffix = self.suffix(prefix, state, noisy.shape[1])
        return self.flow(suffix, noisy, self.moment(time, noisy.dtype))

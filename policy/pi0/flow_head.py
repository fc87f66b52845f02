"""The flow's ends in the action expert: noisy actions, time and state to its tokens, and its tokens
to a velocity.

π0 mixes the time into each action's token and has the state as a token before them. π0.5 gives the
time to every norm of the expert instead, and has no state here.

Source: openpi, `src/openpi/models/pi0.py`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .architecture import Architecture


def time_waves(
    time: Float[Tensor, "b n"], width: int, shortest: float, longest: float
) -> Float[Tensor, "b n width"]:
    """Sines, then cosines, of `time` with periods from `shortest` to `longest`, computed in
    float64 and returned in the dtype of `time`."""
    # MPS has no float64; openpi's and LeRobot's files take float32 there too.
    exact = torch.float32 if time.device.type == "mps" else torch.float64
    fraction = torch.linspace(0.0, 1.0, width // 2, dtype=exact, device=time.device)
    period = shortest * (longest / shortest) ** fraction
    angle = time[..., None].to(exact) * (2 * math.pi / period)
    return torch.cat((angle.sin(), angle.cos()), dim=-1).to(time.dtype)


class FlowHead(nn.Module):
    """The layers around the action expert."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, actions = architecture.expert.width, architecture.actions
        self.periods = (architecture.shortest_period, architecture.longest_period)
        self.width = width
        with_state = architecture.family == "pi0"
        self.state_in = nn.Linear(architecture.states, width) if with_state else None
        self.actions_in = nn.Linear(actions, width)
        self.time_in = nn.Linear(width if self.state_in is None else 2 * width, width)
        self.time_out = nn.Linear(width, width)
        self.actions_out = nn.Linear(width, actions)

    def waves(self, time: Float[Tensor, "b t"], dtype: torch.dtype) -> Float[Tensor, "b t w"]:
        """Those of `time`: one for the chunk (t = 1) or one for each step (t = h)."""
        return time_waves(time.float(), self.width, *self.periods).to(dtype)

    def condition(self, waves: Float[Tensor, "b t w"]) -> Float[Tensor, "b t w"] | None:
        """That of the expert's norms; None for π0, which has the time in its tokens."""
        if self.state_in is not None:
            return None
        return F.silu(self.time_out(F.silu(self.time_in(waves))))

    def state_token(self, state: Float[Tensor, "b s"]) -> Float[Tensor, "b 1 w"] | None:
        """π0's; None for π0.5."""
        return None if self.state_in is None else self.state_in(state)[:, None]

    def tokens(
        self,
        noisy: Float[Tensor, "b h a"],
        waves: Float[Tensor, "b t w"],
        state: Float[Tensor, "b 1 w"] | None,
    ) -> Float[Tensor, "b n w"]:
        """The expert's tokens. n is h for π0.5, and h + 1 for π0, whose token of the state is
        first."""
        actions: Tensor = self.actions_in(noisy)
        if state is None:
            return actions
        timed = torch.cat((actions, waves.expand_as(actions)), dim=-1)
        return torch.cat((state, self.time_out(F.silu(self.time_in(timed)))), dim=1)

    def velocity(self, tokens: Float[Tensor, "b n w"], steps: int) -> Float[Tensor, "b h a"]:
        """Noise minus actions, from the last `steps` tokens."""
        out: Tensor = self.actions_out(tokens[:, -steps:])
        return out

"""Real-time chunking: guided denoising, so that a new chunk continues the current plan.

After arXiv 2506.07339: at each Euler step the predicted final chunk is compared with the prefix,
and the velocity is corrected towards agreement, fully where the prefix is certain to be executed,
less until the execution horizon, and not beyond. It works with any flow policy without training; it
costs a backward pass per step in the paper's form and almost nothing with the identity as the
network's Jacobian. Agreement is approximate; conditioning learned in training is exact (see
`flow`).

Each sample of a batch has its own delay, prefix, weights and clip.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from .base import Clip, Horizon, Observation, Schedule
from .policy_options import Jacobian


class Guidance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How strongly a chunk is guided towards its prefix, where its robot does not say.

    `execution_horizon` counts steps from the observation (None: all of the prefix). `clip` bounds
    the guidance weight, which grows without bound at both ends of the path (5 in the paper).
    """

    schedule: Schedule = "exp"
    clip: Clip = 5.0
    execution_horizon: Horizon | None = None
    jacobian: Jacobian = "gradient"

    def weights(self, observation: Observation, length: int, steps: int) -> NDArray[np.float32]:
        """The weights [steps] of agreement of one sample, whose prefix has `length` steps."""
        horizon = observation.execution_horizon or self.execution_horizon or length
        return prefix_weights(
            observation.guidance_schedule or self.schedule,
            delay=observation.delay_steps,
            horizon=min(length, horizon),
            steps=steps,
        )

    def clip_of(self, observation: Observation) -> float:
        """The bound of the guidance weight of one sample."""
        return self.clip if observation.guidance_clip is None else observation.guidance_clip


def prefix_weights(
    schedule: Schedule, *, delay: int, horizon: int, steps: int
) -> NDArray[np.float32]:
    """The weight of agreement with the prefix for each of `steps` steps, float32 [steps].

    1 before `delay`, 0 from `horizon` on; between them 0 (`zeros`), 1 (`ones`), a linear decrease
    (`linear`) or an exponential one (`exp`, the paper's equation 5).
    """
    horizon = min(horizon, steps)
    delay = min(delay, horizon)
    step = np.arange(steps)
    fall = np.clip((horizon - step) / (horizon - delay + 1), 0.0, 1.0)
    between = {
        "zeros": np.zeros(steps),
        "ones": np.ones(steps),
        "linear": fall,
        "exp": fall * np.expm1(fall) / np.expm1(1.0),
    }[schedule]
    return np.where(step < delay, 1.0, np.where(step < horizon, between, 0.0)).astype(np.float32)


def strength(time: float, clip: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The guidance weight at `time` (0 to 1) of the path: (1 - t) / (t r²) with r² = (1-t)² / (t² +
    (1-t)²), the spread of the chunks that are still possible; at most `clip`."""
    left = 1.0 - time
    denominator = time * left
    if denominator <= 0.0:
        return clip
    return clip.clamp(max=(time * time + left * left) / denominator)


def guided_direction(
    clean: Callable[[Tensor], Tensor],
    noisy: Float[Tensor, "b h a"],
    time: float,
    prefix: Float[Tensor, "b h a"],
    weights: Float[Tensor, "b h"],
    clip: Float[Tensor, " b"],
    jacobian: Jacobian,
) -> Float[Tensor, "b h a"]:
    """The flow's velocity at `noisy`, guided towards `prefix`.

    `clean` predicts the chunk at the end of the path from a point on it; `time` is below 1.
    """
    if jacobian == "gradient":
        with torch.enable_grad():
            point = noisy.detach().requires_grad_()
            chunk = clean(point)
            error = (prefix - chunk.detach()) * weights[..., None]
            (pull,) = torch.autograd.grad(chunk, point, error)
        chunk = chunk.detach()
    else:
        chunk = clean(noisy)
        pull = (prefix - chunk) * weights[..., None]
    return (chunk - noisy) / (1.0 - time) + strength(time, clip)[:, None, None] * pull

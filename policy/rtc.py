"""Real-time chunking: guide denoising so that a new chunk continues the plan under way.

After arXiv 2506.07339: at each Euler step the chunk that the network would end up with is compared
with the prefix, and the flow is bent towards agreement, strongly where the prefix is sure to be
played, less and less until the execution horizon, and not beyond. Works with any flow policy,
without training for it; costs a backward pass per step in the paper's form and next to nothing with
the identity for the network's Jacobian. It makes agreement likely and does not guarantee it:
conditioning learned in training does (see `flow`).

Every sample of a batch has its own delay, prefix and weights; none sees another's.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from .policy_options import Clip, Horizon, Jacobian, Schedule


class Guidance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How strongly a chunk is bent towards its prefix.

    `execution_horizon` counts steps from the observation (None: all of the prefix). `clip` bounds
    the guidance weight, which grows without bound at both ends of the path (5 in the paper).
    """

    schedule: Schedule = "exp"
    clip: Clip = 5.0
    execution_horizon: Horizon | None = None
    jacobian: Jacobian = "gradient"


def prefix_weights(
    schedule: Schedule, *, delay: int, horizon: int, steps: int
) -> NDArray[np.float32]:
    """How much each of `steps` steps must agree with the prefix, float32 [steps].

    1 before `delay`, 0 from `horizon` on; between them 0 (`zeros`), 1 (`ones`), a straight fall
    (`linear`) or one that bends towards 0 (`exp`, the paper's equation 5).
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


def strength(time: float, clip: float) -> float:
    """The guidance weight at `time` of the path: (1 - t) / (t r²) with r² = (1-t)² / (t² + (1-t)²),
    the spread of chunks that could still come out, at most `clip`."""
    left = 1.0 - time
    denominator = time * left
    return clip if denominator <= 0.0 else min(clip, (time * time + left * left) / denominator)


def guided_direction(
    clean: Callable[[Tensor], Tensor],
    noisy: Float[Tensor, "b h a"],
    time: float,
    prefix: Float[Tensor, "b h a"],
    weights: Float[Tensor, "b h"],
    guidance: Guidance,
) -> Float[Tensor, "b h a"]:
    """The flow's velocity at `noisy`, bent towards `prefix`.

    `clean` guesses the chunk at the end of the path from a point on it; `time` is below 1.
    """
    if guidance.jacobian == "gradient":
        with torch.enable_grad():
            point = noisy.detach().requires_grad_()
            chunk = clean(point)
            error = (prefix - chunk.detach()) * weights[..., None]
            (pull,) = torch.autograd.grad(chunk, point, error)
        chunk = chunk.detach()
    else:
        chunk = clean(noisy)
        pull = (prefix - chunk) * weights[..., None]
    return (chunk - noisy) / (1.0 - time) + strength(time, guidance.clip) * pull

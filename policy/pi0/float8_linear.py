"""`Float8Linear`: a linear layer without bias that multiplies in 8 bits, for perceptrons.

Weights are float8 (e4m3) with one scale for each output; activations are rounded at each call, with
one scale for each token. Sums are accumulated in float32 by the card. It is inference only, and for
cards that multiply such numbers (compute capability 8.9, Ada and Hopper, and later).

Source of the format: arXiv 2209.05433.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import PolicyError
from .pi_network import PiNetwork

FORMAT = torch.float8_e4m3fn
_LARGEST = torch.finfo(FORMAT).max
_SMALLEST_SCALE = 1e-12
"""For a row of zeros."""
_CAPABILITY = (8, 9)


class Float8Linear(nn.Module):
    """The rounded weights of `linear`, which has no bias."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        assert not linear.state_dict().keys() - {"weight"}, "it has a bias"
        weight, scale = _rounded(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def forward(self, x: Float[Tensor, "*batch w"]) -> Float[Tensor, "*batch v"]:
        """In the dtype of `x`, which is bfloat16 or float32."""
        rows, scale = _rounded(x.flatten(0, -2))
        product: Tensor = F.scaled_mm(
            rows,
            self.weight.t(),
            scale,
            F.ScalingType.RowWise,
            self.scale.t(),
            F.ScalingType.RowWise,
            output_dtype=torch.bfloat16,
        )
        return product.to(x.dtype).view(*x.shape[:-1], -1)


def round_perceptrons(network: PiNetwork) -> None:
    """Replace the perceptrons' layers of the language model and of the expert. Raises PolicyError
    for a device or a torch that cannot run them."""
    device = network.head.actions_out.weight.device
    if not hasattr(F, "scaled_mm"):
        raise PolicyError(f"float8 needs torch 2.10 or later, found {torch.__version__}")
    if device.type not in ("cuda", "cpu"):
        raise PolicyError(f"float8 needs a cuda device, this one is {device}")
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < _CAPABILITY:
        found = ".".join(map(str, torch.cuda.get_device_capability(device)))
        raise PolicyError(
            f"float8 needs a card of compute capability 8.9 or later (Ada, Hopper), "
            f"{torch.cuda.get_device_name(device)} has {found}: leave `perceptrons` out"
        )
    for block in (*network.language.blocks, *network.expert.blocks):
        for name in ("gate", "up", "down"):
            setattr(block, name, Float8Linear(getattr(block, name)))


def _rounded(x: Float[Tensor, "n w"]) -> tuple[Float[Tensor, "n w"], Float[Tensor, "n 1"]]:
    """In 8 bits, and the scale of each row by which they are to be multiplied."""
    wide = x.float()
    scale = (wide.abs().amax(dim=-1, keepdim=True) / _LARGEST).clamp(min=_SMALLEST_SCALE)
    return (wide / scale).to(FORMAT), scale

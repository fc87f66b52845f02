"""`block_output`: a layer's output, whose inner values are kept for the gradients or computed
again."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def block_output(block: nn.Module, *inputs: Any, recompute: bool) -> Any:
    """`block(*inputs)`. With `recompute` and gradients, the layer is computed a second time in the
    backward pass instead of keeping its inner values: less memory for a third more time."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)

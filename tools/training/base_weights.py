"""`load_base`: the weights of another checkpoint to begin with, chosen by patterns of names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from ...errors import PolicyError
from ...policy.checkpoint import read_weights


def load_base(network: nn.Module, checkpoint: str, patterns: Sequence[str]) -> list[str]:
    """Copy the tensors of `checkpoint` whose names match `patterns` into `network`; return their
    names.

    A pattern such as `encoder.eyes.*` includes, one such as `!encoder.instruction.*` excludes; the
    last that matches decides. Raises PolicyError where nothing matches, and for a tensor that the
    network has not, or of another shape.
    """
    own, chosen = network.state_dict(), []
    weights = read_weights(checkpoint)
    for name, value in weights.items():
        if not _included(name, patterns):
            continue
        if name not in own:
            raise PolicyError(
                f"base {checkpoint}: this network has no weight {name}; exclude it: "
                f"base_weights=*,!{name}"
            )
        if tuple(value.shape) != tuple(own[name].shape):
            raise PolicyError(
                f"base {checkpoint}: {name} is {list(value.shape)} there and "
                f"{list(own[name].shape)} here; exclude it: base_weights=*,!{name}"
            )
        own[name].copy_(torch.from_numpy(value))
        chosen.append(name)
    if not chosen:
        raise PolicyError(
            f"base {checkpoint}: no weight matches {', '.join(patterns)}; there are "
            f"{', '.join(sorted(weights)[:3])}, ..."
        )
    return chosen


def _included(name: str, patterns: Sequence[str]) -> bool:
    included = False
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!")):
            included = not pattern.startswith("!")
    return included

"""Which parameters a training changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

from .low_rank import is_adapter
from .name_patterns import included, unmatched


def freeze(network: nn.Module, patterns: Sequence[str], loaded: Collection[str]) -> None:
    """Keep the parameters whose names match `patterns` as they are in the base, but for adapters.
    Raises ValueError for a pattern without a match, for a parameter that is not `loaded` from a
    base, and where nothing is left to train."""
    names = [name for name, each in network.named_parameters() if each.numel()]
    if wrong := unmatched(names, patterns):
        raise ValueError(
            f"freeze: no weight matches {', '.join(wrong)}; there are {', '.join(names)}"
        )
    frozen = {name for name in names if included(name, patterns) and not is_adapter(name)}
    random = sorted(frozen.difference(loaded))
    if random:
        raise ValueError(
            f"freeze: {', '.join(random)} would stay random, because no base gives them; train "
            f"them: freeze={','.join((*patterns, *('!' + name for name in random)))}"
        )
    if len(frozen) == len(names):
        raise ValueError(
            f"freeze={','.join(patterns)} leaves nothing to train: leave some out, as "
            "freeze=*,!encoder.state.*, or train adapters: lora.rank=8"
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)

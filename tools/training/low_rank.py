"""LoRA: low-rank changes of frozen linear layers (arXiv 2106.09685).

A layer's weight W stays, and W + (alpha / rank) up @ down is trained, with `up` zero at first. The
checkpoint has the sum as an ordinary weight, so that a service needs nothing of this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import PolicyError
from .name_patterns import included, unmatched
from .training_config import LoraConfig, TrainedKind

_DOWN, _UP = "lora_down", "lora_up"

USUAL: dict[TrainedKind, tuple[str, ...]] = {
    "flow": ("denoiser.blocks.*",),
    "act": ("decoder.blocks.*",),
    "pi0": ("language.blocks.*", "expert.blocks.*"),
    "pi05": ("language.blocks.*", "expert.blocks.*", "!*.modulate"),
}
"""The layers that are changed where `lora.modules` is empty: of `flow` and `act` those of the
transformer that makes the actions, of π0 and π0.5 attention and perceptrons of both."""


class LowRankLinear(nn.Linear):
    """A linear layer with the parameters of another, and its change of rank `rank`."""

    def __init__(self, layer: nn.Linear, rank: int, scale: float) -> None:
        bias = layer.bias is not None
        super().__init__(layer.in_features, layer.out_features, bias, device="meta")
        self.weight, self.bias, self.scale = layer.weight, layer.bias, scale
        self.lora_down = nn.Parameter(torch.empty(rank, layer.in_features))
        self.lora_up = nn.Parameter(torch.zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        change = F.linear(F.linear(x, self.lora_down), self.lora_up)
        return super().forward(x) + self.scale * change


def add_adapters(network: nn.Module, lora: LoraConfig, kind: TrainedKind) -> list[str]:
    """Give the linear layers of a kind's network whose names match `lora.modules` a low-rank
    change; return their names. Raises PolicyError for a pattern that matches none, and where none
    is chosen."""
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    modules = lora.modules or USUAL[kind]
    chosen = [name for name in layers if included(name, modules)]
    ranks = dict(map(_parsed, lora.ranks))
    wrong = unmatched(layers, modules)
    if wrong or not chosen:
        _refuse("modules", wrong or modules, layers)
    if wrong := unmatched(chosen, tuple(ranks)):
        _refuse("ranks", wrong, chosen)
    for name in chosen:
        parent, _, child = name.rpartition(".")
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        rank = next((ranks[p] for p in reversed(ranks) if included(name, (p,))), lora.rank)
        adapted = LowRankLinear(layer, rank, lora.alpha / lora.rank)
        setattr(network.get_submodule(parent), child, adapted)
    return chosen


def _refuse(key: str, patterns: Sequence[str], layers: Sequence[str]) -> NoReturn:
    raise PolicyError(
        f"lora.{key}: no linear layer matches {', '.join(patterns)}; there are {', '.join(layers)}"
    )


def _parsed(setting: str) -> tuple[str, int]:
    """The pattern and the rank of one of `lora.ranks`."""
    pattern, _, rank = setting.rpartition(":")
    if not pattern or not rank.isdecimal() or int(rank) < 1:
        raise PolicyError(f"lora.ranks: found {setting}, expected PATTERN:RANK, as expert.*:32")
    return pattern, int(rank)


def is_adapter(name: str) -> bool:
    """Whether `name` is of a parameter that `add_adapters` has added."""
    return name.rpartition(".")[2] in {_DOWN, _UP}


def merged(weights: Mapping[str, Tensor], lora: LoraConfig) -> dict[str, Tensor]:
    """`weights` with the changes added to the layers' own weights: those of the network without
    adapters."""
    plain = {name: value for name, value in weights.items() if not is_adapter(name)}
    for name, up in weights.items():
        layer, _, last = name.rpartition(".")
        if last == _UP:
            change = up @ weights[f"{layer}.{_DOWN}"] * (lora.alpha / lora.rank)
            plain[f"{layer}.weight"] = plain[f"{layer}.weight"] + change
    return plain

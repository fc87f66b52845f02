"""What a training is: its network, its demonstrations, its optimization."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ...policy.base import PolicySpec
from ...policy.normalize import Mode
from .dataset import DatasetConfig


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One named way to train; see tools/training/presets.py.

    `looks` is how many noisy chunks are denoised for each encoded image: images are what costs.
    `fresh` is the share of them that continue no plan. `linger_steps` count after the end of an
    episode, its last action held: letting a parcel go ends the episode, and one step of that is too
    little for a median to notice.
    """

    kind: Literal["flow", "act"]
    spec: PolicySpec
    network: dict[str, Any]
    dataset: DatasetConfig
    shards: int
    steps: int
    batch: int = 64
    state_mode: Mode = "zscore"
    action_mode: Mode = "zscore"
    relative_actions: tuple[str, ...] = ()
    looks: int = 2
    fresh: float = 0.3
    linger_steps: int = 0
    rate: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 1e-4
    ema: float = 0.998
    auxiliary_weight: float = 0.3
    finding_weight: float = 0.1
    word_dropout: float = 0.1
    brightness: float = 0.15

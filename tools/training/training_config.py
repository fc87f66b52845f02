"""The configuration of a training: network, demonstrations, optimization."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ...policy.base import PolicySpec
from ...policy.normalize import Mode
from .dataset import DatasetConfig


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training. `presets.CONFIGS` has the named ones.

    `looks` is the number of noisy chunks for each encoded observation, because images are the main
    cost. `fresh` is the share of chunks that continue no plan. `linger_steps` are added after the
    end of an episode, with its last action: the release of a parcel ends the episode, and a single
    step of it has no influence on a median.
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

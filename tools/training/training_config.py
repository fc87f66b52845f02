"""The configuration of a training: network, data, optimization."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ...policy.base import PolicySpec
from ...policy.normalize import Mode
from .dataset import DatasetConfig

Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
CountOrNone = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
Share = Annotated[float, Meta(ge=0, le=1, description="a number, 0 to 1")]
Decay = Annotated[float, Meta(ge=0, lt=1, description="a number, 0 to less than 1")]
Positive = Annotated[float, Meta(gt=0, description="a number, more than 0")]
Amount = Annotated[float, Meta(ge=0, description="a number, 0 or more")]
TrainedKind = Literal["flow", "act", "pi0", "pi05"]


class LoraConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Low-rank changes of frozen linear layers, see `low_rank`.

    Attributes:
        rank: of the changes; 0 for none.
        alpha: the change is multiplied by alpha / rank.
        modules: patterns of the names of the layers; one with a leading `!` excludes. Empty for
            those that are usual for the kind of policy (`low_rank.USUAL`).
        ranks: `PATTERN:RANK` for layers with another rank, as `expert.*:32`; the last that matches
            decides. Their changes are multiplied by alpha / rank as all are.
    """

    rank: CountOrNone = 0
    alpha: Positive = 16.0
    modules: tuple[str, ...] = ()
    ranks: tuple[str, ...] = ()


class OptimizationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every training has, whatever its data.

    Attributes:
        kind: the kind of policy.
        network: the fields of the kind's own config.
        steps: optimizer steps.
        batch: observations of one backward pass.
        accumulate: backward passes of one optimizer step.
        dtype: in which the network computes; its weights stay float32.
        base: a checkpoint (a path or a shipped name) whose weights the network begins with; empty
            for none.
        base_weights: patterns of the names of those weights; one with a leading `!` excludes.
        lora: the low-rank changes that are trained instead of the base's weights.
        freeze: patterns of the names of the weights that stay those of the base; with `lora`, empty
            stands for all.
        state_mode: how states are normalized.
        action_mode: how actions are normalized.
        relative_actions: the actions that are offsets from the state of the same name.
        looks: noisy chunks for each encoded observation, because images are the main cost.
        fresh: the share of chunks that continue no plan.
        linger_steps: steps after an episode's end, with its last action, that count.
        rate: the greatest learning rate.
        final_rate: the share of it that is left at the end of the cosine.
        warmup_steps: steps over which it rises.
        decay_steps: the length of the cosine, after which the rate stays; 0: `steps`.
        beta2: AdamW's, of the mean squares of the gradients.
        weight_decay: of matrices.
        gradient_norm: the norm to which gradients are clipped.
        ema: the share of the averaged weights that a step keeps; the average is what is saved.
        word_dropout: the share of words that all tasks have which become unknown.
        brightness: by how much images change in brightness and contrast.
    """

    kind: TrainedKind
    network: dict[str, Any]
    steps: Count
    batch: Count = 64
    accumulate: Count = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    base: str = ""
    base_weights: tuple[str, ...] = ("*",)
    lora: LoraConfig = LoraConfig()
    freeze: tuple[str, ...] = ()
    state_mode: Mode = "zscore"
    action_mode: Mode = "zscore"
    relative_actions: tuple[str, ...] = ()
    looks: Count = 2
    fresh: Share = 0.3
    linger_steps: CountOrNone = 0
    rate: Positive = 2e-3
    final_rate: Share = 0.02
    warmup_steps: Count = 100
    decay_steps: CountOrNone = 0
    beta2: Decay = 0.98
    weight_decay: Amount = 1e-4
    gradient_norm: Positive = 1.0
    ema: Share = 0.998
    word_dropout: Share = 0.1
    brightness: Share = 0.15


class TrainingConfig(OptimizationConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training on demonstrations of the simulator's expert, made for it.

    `linger_steps` matter here: the release of a parcel ends the episode, and a single step of it
    has no influence on a median.
    """

    spec: PolicySpec
    dataset: DatasetConfig
    shards: Count
    auxiliary_weight: Amount = 0.3
    finding_weight: Amount = 0.1


class RecordedConfig(OptimizationConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training on a LeRobotDataset, which gives names, cameras and fps.

    Attributes:
        model: the policy's name; empty for the dataset's.
        chunk_size: the steps of a chunk.
        max_prefix_steps: for how many steps at most a flow policy learns to continue a plan.
        cameras: the cameras that the policy sees; empty for all.
        image_width: the width of its images.
        image_height: their height.
        control_mode: what the recorded actions are.
        statistics: whether states and actions are normalized by statistics of the frames, by those
            in the dataset's meta/stats.json, or by those of the base.
        limit_actions: whether chunks are clipped to the least and greatest recorded actions.
        skip_failures: whether episodes that were judged to be failures are left out.
    """

    model: str = ""
    chunk_size: Count = 48
    max_prefix_steps: CountOrNone = 24
    cameras: tuple[str, ...] = ()
    image_width: Count = 128
    image_height: Count = 96
    control_mode: Literal["position", "velocity"] = "position"
    statistics: Literal["recomputed", "dataset", "base"] = "recomputed"
    limit_actions: bool = True
    skip_failures: bool = False


def for_recordings(config: OptimizationConfig) -> RecordedConfig:
    """`config` for a recorded dataset: one for the simulator gives its network, optimization, chunk
    and image sizes."""
    if isinstance(config, RecordedConfig):
        return config
    assert isinstance(config, TrainingConfig)
    common = {name: getattr(config, name) for name in OptimizationConfig.__struct_fields__}
    camera = config.spec.cameras[0]
    return RecordedConfig(
        **common,
        chunk_size=config.spec.chunk_size,
        max_prefix_steps=config.spec.max_prefix_steps,
        image_width=camera.width,
        image_height=camera.height,
    )


def prefix_of(config: RecordedConfig) -> dict[str, Any]:
    """How a chunk of the trained policy continues a plan: fields of its spec."""
    if config.kind == "act" or not config.max_prefix_steps:
        return {"prefix": "none", "max_prefix_steps": 0}
    most = min(config.max_prefix_steps, config.chunk_size - 1)
    return {"prefix": "trained", "max_prefix_steps": most}

"""`PiConfig`: the configuration of a training of π0 or π0.5."""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import PolicyError
from ...policy.pi0.architecture import FlowFamily
from ...policy.pi0.checkpoint_layout import read_sizes
from ...policy.pi0.pi_settings import PiSettings
from .training_config import (
    Amount,
    Count,
    CountOrNone,
    Decay,
    Positive,
    RecordedConfig,
    Share,
)

PREFIX = ("vision.*", "words.*", "language.*")
"""The weights before the expert."""


class PiConfig(RecordedConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training on a LeRobotDataset; the defaults are openpi's (`src/openpi/training/config.py`
    and `optimizer.py`, 15a9616).

    `network` has the fields of `PiSettings`; with a `base`, sizes are the base's. States and
    actions have one mode of normalization.

    Attributes:
        tokenizer: PaliGemma's file or directory; empty for that of the base, or of the caches of
            openpi and the hub; `bytes` for one token a byte.
        insulate: whether no gradient of the flow reaches vision tower, words and language model.
        action_tokenizer: with `insulate`, the directory of FAST's tokenizer, by whose tokens the
            language model learns the actions; empty for none.
        token_weight: what the loss of these tokens weighs beside the flow's.
        recompute: whether layers are computed twice, to need less memory.
        asset: with `statistics=base`, which of openpi's assets.
        augment: whether images are cropped, turned and recoloured at random, as in openpi; images
            of a place of the model whose name has `wrist` are recoloured only.
        prompt_from_task: whether the instruction is the frame's task; else it is `network.prompt`.
        image_width: of the policy's images; 0, as the height: what fits the network, in the
            camera's shape.
    """

    network: dict[str, Any] = msgspec.field(default_factory=dict)
    steps: Count = 30_000
    batch: Count = 32
    chunk_size: Count = 50
    max_prefix_steps: CountOrNone = 0
    image_width: CountOrNone = 0
    image_height: CountOrNone = 0
    looks: Count = 1
    rate: Positive = 2.5e-5
    final_rate: Share = 0.1
    warmup_steps: Count = 1000
    beta2: Decay = 0.95
    weight_decay: Amount = 1e-10
    ema: Share = 0.99
    word_dropout: Share = 0.0
    brightness: Share = 0.0
    augment: bool = True
    tokenizer: str = ""
    insulate: bool = False
    action_tokenizer: str = ""
    token_weight: Amount = 1.0
    recompute: bool = True
    asset: str = ""
    prompt_from_task: bool = True


def family_of(config: PiConfig) -> FlowFamily:
    """The family of networks. Raises ValueError for a kind that is none."""
    if config.kind not in {"pi0", "pi05"}:
        raise ValueError(f"kind: found {config.kind}, expected pi0 or pi05")
    return "pi0" if config.kind == "pi0" else "pi05"


def network_of(config: PiConfig) -> PiSettings:
    """The config's `network`. Raises PolicyError that names the field."""
    try:
        return msgspec.convert(config.network, PiSettings)
    except msgspec.ValidationError as error:
        raise PolicyError(f"network: {error}") from error


def sized(config: PiConfig) -> PiConfig:
    """The config with the sizes of its base, and what `insulate` freezes. Raises ValueError without
    a base, unless the config has sizes of its own; PolicyError for a base that cannot be used."""
    settings = network_of(config)
    if not config.prompt_from_task and not settings.prompt:
        raise ValueError(
            "prompt_from_task=false without an instruction: give the one of all frames, as "
            "network.prompt='fold the towel'"
        )
    if bool(config.image_width) != bool(config.image_height):
        raise ValueError(
            f"image_width is {config.image_width} and image_height {config.image_height}: give "
            "both, or neither for what fits the network in the camera's shape"
        )
    if config.base:
        _, architecture = read_sizes(config.base, family_of(config))
        settings = settings.sized_as(architecture)
    elif "language" not in config.network:
        raise ValueError(
            "base is missing: the published network starts from trained weights, as "
            f"base=~/checkpoints/{config.kind}_base (a directory of openpi's PyTorch files, of "
            f"LeRobot's, or of holdfast-train); {config.kind}_small starts from random ones"
        )
    frozen = config.freeze
    if config.insulate and not config.action_tokenizer and not config.lora.rank:
        if not config.base:
            raise ValueError(
                "insulate=true without an action_tokenizer: nothing would train the vision tower, "
                "the words and the language model; name a base, or the tokenizer of FAST"
            )
        frozen = (*PREFIX, *frozen)
    return msgspec.structs.replace(
        config, network=msgspec.to_builtins(settings), freeze=tuple(dict.fromkeys(frozen))
    )


def fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height of an image that fits a square of `side` pixels, in its own shape.

    >>> fitted(640, 480, 224)
    (224, 168)
    """
    ratio = max(width, height) / side
    return max(round(width / ratio), 1), max(round(height / ratio), 1)

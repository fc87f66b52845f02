"""Sizes that openpi and LeRobot have no names for, set on their way to transformers' classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.policy.pi0.architecture import Architecture


def gemma_of(kind: Any, sizes: Architecture, variant: str) -> Any:
    """The library's configuration, of the class `kind`, of the Gemma that it knows as `variant`."""
    each = sizes.language if variant == "gemma_2b" else sizes.expert
    return kind(each.width, each.layers, each.mlp, each.heads, each.key_heads, each.head)


@dataclass(frozen=True)
class ResizedClasses:
    """`paligemma` and `gemma`, two classes of transformers, for configurations that are changed to
    `sizes` before."""

    sizes: Architecture
    paligemma: Any
    gemma: Any

    def whole(self, config: Any) -> Any:
        """The vision tower and the language model."""
        vision, tower = config.vision_config, self.sizes.vision
        vision.hidden_size, vision.num_hidden_layers = tower.width, tower.layers
        vision.num_attention_heads, vision.intermediate_size = tower.heads, tower.mlp
        vision.image_size, vision.patch_size = tower.pixels, tower.patch
        vision.projection_dim = self.sizes.language.width
        config.text_config.vocab_size = self.sizes.words
        return self.paligemma(config=config)

    def expert(self, config: Any) -> Any:
        """The expert."""
        config.vocab_size = self.sizes.words
        return self.gemma(config=config)

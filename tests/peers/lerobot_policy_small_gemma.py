"""A plugin of LeRobot that makes its π0 family small: the library's configuration has no fields for
the sizes of PaliGemma and its vision tower, the smallest of which has 3 billion parameters.

LeRobot imports it where a distribution of this name is on the path. It changes sizes only.
"""

from __future__ import annotations

import importlib
from typing import Any

WIDTH, VOCABULARY = 32, 512


def _small_gemma(made: type, variant: str) -> Any:
    _ = variant
    return made(width=WIDTH, depth=2, mlp_dim=32, num_heads=2, num_kv_heads=1, head_dim=16)


def _shrink(config: Any) -> None:
    text = getattr(config, "text_config", config)
    text.vocab_size = VOCABULARY
    if (vision := getattr(config, "vision_config", None)) is not None:
        config._vocab_size = config.image_token_index = config.image_token_id = VOCABULARY - 1
        vision.hidden_size = vision.intermediate_size = WIDTH
        vision.num_hidden_layers, vision.num_attention_heads = 1, 2
        vision.projection_dim = WIDTH


def _shrunk(original: Any) -> Any:
    def make(config: Any) -> Any:
        _shrink(config)
        return original(config=config)

    return make


for _family in ("pi0", "pi05", "pi0_fast"):
    _module = importlib.import_module(f"lerobot.policies.{_family}.modeling_{_family}")
    _sizes = _module.GemmaConfig
    _module.get_gemma_config = lambda variant, made=_sizes: _small_gemma(made, variant)  # type: ignore[attr-defined]
    for _name in ("PaliGemmaForConditionalGenerationWithPiGemma", "PiGemmaForCausalLM"):
        if hasattr(_module, _name):
            setattr(_module, _name, _shrunk(getattr(_module, _name)))

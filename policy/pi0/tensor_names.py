"""The names of a network's tensors in openpi's PyTorch files, which are LeRobot's too (LeRobot puts
`model.` before them)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .architecture import Family

PALIGEMMA = "paligemma_with_expert.paligemma.model"
EXPERT = "paligemma_with_expert.gemma_expert.model"
TOWER = f"{PALIGEMMA}.vision_tower.vision_model"
WORDS = f"{PALIGEMMA}.language_model.embed_tokens.weight"
WORDS_OUT = "paligemma_with_expert.paligemma.lm_head.weight"
"""The same tensor as WORDS. A file of tied weights may have either name, or both."""

UNUSED = ("paligemma_with_expert.gemma_expert.lm_head.weight",)
"""In the files, and of no use to a policy: the action expert has no words."""

_VISION = {
    "attention_norm": "layer_norm1",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.out_proj",
    "mlp_norm": "layer_norm2",
    "widen": "mlp.fc1",
    "narrow": "mlp.fc2",
}
_GEMMA = {
    "attention_norm": "input_layernorm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "mlp_norm": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_BLOCKS = {
    "vision": (f"{TOWER}.encoder.layers", _VISION),
    "language": (f"{PALIGEMMA}.language_model.layers", _GEMMA),
    "expert": (f"{EXPERT}.layers", _GEMMA),
}
_OUTSIDE = {
    "vision.patches": f"{TOWER}.embeddings.patch_embedding",
    "vision.places": f"{TOWER}.embeddings.position_embedding",
    "vision.norm": f"{TOWER}.post_layernorm",
    "vision.project": f"{PALIGEMMA}.multi_modal_projector.linear",
    "words": f"{PALIGEMMA}.language_model.embed_tokens",
    "words_out": "paligemma_with_expert.paligemma.lm_head",
    "language.norm": f"{PALIGEMMA}.language_model.norm",
    "expert.norm": f"{EXPERT}.norm",
    "head.actions_in": "action_in_proj",
    "head.actions_out": "action_out_proj",
    "head.state_in": "state_proj",
}
_TIME: Mapping[Family, Mapping[str, str]] = {
    "pi0": {"head.time_in": "action_time_mlp_in", "head.time_out": "action_time_mlp_out"},
    "pi05": {"head.time_in": "time_mlp_in", "head.time_out": "time_mlp_out"},
    "pi0_fast": {},
}


def published_name(name: str, family: Family) -> str:
    """The name in the files of the parameter `name` of a network."""
    # The linear layer of an adaptive norm.
    stem, _, last = name.replace(".modulate.", ".dense.").rpartition(".")
    within = re.fullmatch(r"(\w+)\.blocks\.(\d+)\.(\w+)((?:\.dense)?)", stem)
    if within is not None:
        part, layer, module, dense = within.groups()
        place, names = _BLOCKS[part]
        return f"{place}.{layer}.{names[module]}{dense}.{last}"
    dense = ".dense" if stem.endswith(".dense") else ""
    outside = {**_OUTSIDE, **_TIME[family]}[stem.removesuffix(".dense")]
    return f"{outside}{dense}.{last}"

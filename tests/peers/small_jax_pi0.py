"""The parameters of a small π0, π0.5 or π0-FAST in openpi's JAX form: random numbers of the shapes
that its modules declare (openpi 15a9616, `src/openpi/models/gemma.py`, `siglip.py`, `pi0.py`)."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from holdfast.tests.peers.key_weights import inputs_of
from holdfast.tests.peers.small_pi0 import SMALL


def parameters(family: str) -> dict[str, NDArray[Any]]:
    """By path, as openpi's training writes them."""
    sizes = SMALL[family]
    v, words = sizes.vision, sizes.words
    head = v.width // v.heads
    image, layers = "PaliGemma/img", "PaliGemma/img/Transformer/encoderblock"
    attention, mlp = f"{layers}/MultiHeadDotProductAttention_0", f"{layers}/MlpBlock_0"
    shapes: dict[str, tuple[int, ...]] = {
        f"{image}/embedding/kernel": (v.patch, v.patch, 3, v.width),
        f"{image}/embedding/bias": (v.width,),
        f"{image}/pos_embedding": (1, v.tokens, v.width),
        **{
            f"{layers}/LayerNorm_{k}/{part}": (v.layers, v.width)
            for k in (0, 1)
            for part in ("scale", "bias")
        },
        **{f"{attention}/{p}/kernel": (v.layers, v.width, v.heads, head) for p in _QKV},
        **{f"{attention}/{p}/bias": (v.layers, v.heads, head) for p in _QKV},
        f"{attention}/out/kernel": (v.layers, v.heads, head, v.width),
        f"{attention}/out/bias": (v.layers, v.width),
        f"{mlp}/Dense_0/kernel": (v.layers, v.width, v.mlp),
        f"{mlp}/Dense_0/bias": (v.layers, v.mlp),
        f"{mlp}/Dense_1/kernel": (v.layers, v.mlp, v.width),
        f"{mlp}/Dense_1/bias": (v.layers, v.width),
        f"{image}/Transformer/encoder_norm/scale": (v.width,),
        f"{image}/Transformer/encoder_norm/bias": (v.width,),
        f"{image}/head/kernel": (v.width, sizes.language.width),
        f"{image}/head/bias": (sizes.language.width,),
        "PaliGemma/llm/embedder/input_embedding": (words, sizes.language.width),
        **_gemma(family, ""),
    }
    if family != "pi0_fast":
        shapes |= _gemma(family, "_1") | _heads(family)
    return {f"{path}/value": value for path, value in inputs_of(shapes).items()}


_QKV = ("query", "key", "value")


def _gemma(family: str, which: str) -> dict[str, tuple[int, ...]]:
    s = SMALL[family].expert if which else SMALL[family].language
    text = "PaliGemma/llm"
    attention, mlp = f"{text}/layers/attn", f"{text}/layers/mlp{which}"
    shapes: dict[str, tuple[int, ...]] = {
        f"{attention}/q_einsum{which}/w": (s.layers, s.heads, s.width, s.head),
        f"{attention}/kv_einsum{which}/w": (s.layers, 2, s.key_heads, s.width, s.head),
        f"{attention}/attn_vec_einsum{which}/w": (s.layers, s.heads, s.head, s.width),
        f"{mlp}/gating_einsum": (s.layers, 2, s.width, s.mlp),
        f"{mlp}/linear": (s.layers, s.mlp, s.width),
    }
    for name, of_layers in (
        ("pre_attention_norm", True),
        ("pre_ffw_norm", True),
        ("final_norm", 0),
    ):
        path = f"{text}/{'layers/' if of_layers else ''}{name}{which}"
        each = (s.layers,) if of_layers else ()
        if which and family == "pi05":
            shapes[f"{path}/Dense_0/kernel"] = (*each, s.width, 3 * s.width)
            shapes[f"{path}/Dense_0/bias"] = (*each, 3 * s.width)
        else:
            shapes[f"{path}/scale"] = (*each, s.width)
    return shapes


def _heads(family: str) -> dict[str, tuple[int, ...]]:
    sizes = SMALL[family]
    width = sizes.expert.width
    dense = {"action_in_proj": (sizes.actions, width), "action_out_proj": (width, sizes.actions)}
    if family == "pi0":
        dense |= {
            "state_proj": (sizes.states, width),
            "action_time_mlp_in": (2 * width, width),
            "action_time_mlp_out": (width, width),
        }
    else:
        dense |= {"time_mlp_in": (width, width), "time_mlp_out": (width, width)}
    return {
        **{f"{name}/kernel": shape for name, shape in dense.items()},
        **{f"{name}/bias": shape[1:] for name, shape in dense.items()},
    }

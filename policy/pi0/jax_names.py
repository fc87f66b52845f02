"""openpi's JAX parameters as the tensors of a network. No torch, no JAX.

There the layers of a transformer are one array with the layer first, a projection to heads is
[heads, width, head] (`ABC,NBD` einsums), and a dense layer is [inputs, outputs]; here each layer
has its own tensors, [outputs, inputs].

Source: openpi 15a9616, `src/openpi/models/gemma.py`, `siglip.py`, `pi0.py` (the shapes of the
parameters), `examples/convert_jax_model_to_pytorch.py` (the names).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isqrt
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .architecture import Architecture, Family, GemmaSizes, VisionSizes

Parameters = Mapping[str, NDArray[Any]]
"""By path, e.g. `PaliGemma/llm/final_norm/scale`."""
Turn = Callable[[NDArray[Any]], NDArray[Any]]

_IMAGE, _TEXT = "PaliGemma/img", "PaliGemma/llm"
_VISION_LAYERS = f"{_IMAGE}/Transformer/encoderblock"
_ATTENTION = f"{_VISION_LAYERS}/MultiHeadDotProductAttention_0"
_OWN: dict[Family, str] = {"pi0": "state_proj", "pi05": "time_mlp_in"}


class JaxCheckpoint:
    """The parameters of π0, π0.5 or π0-FAST. Raises KeyError for one that is missing.

    Attributes:
        architecture: by the shapes of the parameters, for chunks of so many `steps`.
    """

    def __init__(self, parameters: Parameters, steps: int) -> None:
        # `nnx.State` adds a last part to every path.
        self._given = {path.removesuffix("/value"): each for path, each in parameters.items()}
        self._used: set[str] = set()
        self.architecture = self._architecture(steps)

    @property
    def unused(self) -> list[str]:
        """The paths that no tensor came from, once all have been made."""
        return sorted(self._given.keys() - self._used)

    def tensors(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Name, as a network has it, and value of every parameter."""
        yield from self._vision()
        yield "words.weight", self._take(f"{_TEXT}/embedder/input_embedding")
        yield from self._gemma("language", "")
        if self.architecture.family == "pi0_fast":
            return
        yield from self._gemma("expert", "_1")
        heads = {"actions_in": "action_in_proj", "actions_out": "action_out_proj"}
        if self.architecture.family == "pi0":
            heads |= {"state_in": "state_proj"}
        prefix = "action_" if self.architecture.family == "pi0" else ""
        heads |= {f"time_{end}": f"{prefix}time_mlp_{end}" for end in ("in", "out")}
        for ours, theirs in heads.items():
            yield from self._dense(f"head.{ours}", theirs)

    def _take(self, path: str) -> NDArray[Any]:
        self._used.add(path)
        return self._given[path]

    def _dense(self, ours: str, theirs: str) -> Iterator[tuple[str, NDArray[Any]]]:
        yield f"{ours}.weight", self._take(f"{theirs}/kernel").T
        yield f"{ours}.bias", self._take(f"{theirs}/bias")

    def _layers(
        self, part: str, names: Mapping[str, tuple[str, Turn]]
    ) -> Iterator[tuple[str, NDArray[Any]]]:
        """The tensors of every layer: by our name, the path of all, and how one is turned."""
        for ours, (path, turned) in names.items():
            for layer, value in enumerate(self._take(path)):
                yield f"{part}.blocks.{layer}.{ours}", turned(value)

    def _vision(self) -> Iterator[tuple[str, NDArray[Any]]]:
        yield (
            "vision.patches.weight",
            self._take(f"{_IMAGE}/embedding/kernel").transpose(3, 2, 0, 1),
        )
        yield "vision.patches.bias", self._take(f"{_IMAGE}/embedding/bias")
        yield "vision.places.weight", self._take(f"{_IMAGE}/pos_embedding")[0]
        names: dict[str, tuple[str, Turn]] = {}
        for ours, theirs in (("attention_norm", "LayerNorm_0"), ("mlp_norm", "LayerNorm_1")):
            names[f"{ours}.weight"] = f"{_VISION_LAYERS}/{theirs}/scale", _same
            names[f"{ours}.bias"] = f"{_VISION_LAYERS}/{theirs}/bias", _same
        for ours in ("query", "key", "value"):
            names[f"{ours}.weight"] = f"{_ATTENTION}/{ours}/kernel", _last_two_out
            names[f"{ours}.bias"] = f"{_ATTENTION}/{ours}/bias", np.ravel
        names["out.weight"] = f"{_ATTENTION}/out/kernel", _first_two_in
        names["out.bias"] = f"{_ATTENTION}/out/bias", _same
        for ours, theirs in (("widen", "Dense_0"), ("narrow", "Dense_1")):
            names[f"{ours}.weight"] = f"{_VISION_LAYERS}/MlpBlock_0/{theirs}/kernel", np.transpose
            names[f"{ours}.bias"] = f"{_VISION_LAYERS}/MlpBlock_0/{theirs}/bias", _same
        yield from self._layers("vision", names)
        norm = f"{_IMAGE}/Transformer/encoder_norm"
        yield "vision.norm.weight", self._take(f"{norm}/scale")
        yield "vision.norm.bias", self._take(f"{norm}/bias")
        yield from self._dense("vision.project", f"{_IMAGE}/head")

    def _gemma(self, part: str, which: str) -> Iterator[tuple[str, NDArray[Any]]]:
        """`which` is the end of openpi's names: "" for the language model, "_1" for the expert."""
        attention, mlp = f"{_TEXT}/layers/attn", f"{_TEXT}/layers/mlp{which}"
        both = f"{attention}/kv_einsum{which}/w"
        gates = f"{mlp}/gating_einsum"
        names: dict[str, tuple[str, Turn]] = {
            "query.weight": (f"{attention}/q_einsum{which}/w", _heads_out),
            "key.weight": (both, lambda w: _heads_out(w[0])),
            "value.weight": (both, lambda w: _heads_out(w[1])),
            "out.weight": (f"{attention}/attn_vec_einsum{which}/w", _first_two_in),
            "gate.weight": (gates, lambda w: w[0].T),
            "up.weight": (gates, lambda w: w[1].T),
            "down.weight": (f"{mlp}/linear", np.transpose),
        }
        norms = {"attention_norm": "pre_attention_norm", "mlp_norm": "pre_ffw_norm"}
        adaptive = part == "expert" and self.architecture.family == "pi05"
        for ours, theirs in norms.items():
            path = f"{_TEXT}/layers/{theirs}{which}"
            if adaptive:
                names[f"{ours}.modulate.weight"] = f"{path}/Dense_0/kernel", np.transpose
                names[f"{ours}.modulate.bias"] = f"{path}/Dense_0/bias", _same
            else:
                names[f"{ours}.weight"] = f"{path}/scale", _same
        yield from self._layers(part, names)
        final = f"{_TEXT}/final_norm{which}"
        if adaptive:
            yield from self._dense(f"{part}.norm.modulate", f"{final}/Dense_0")
        else:
            yield f"{part}.norm.weight", self._take(f"{final}/scale")

    def _architecture(self, steps: int) -> Architecture:
        given = self._given
        family: Family = "pi0_fast"
        for each, own in _OWN.items():
            if f"{own}/kernel" in given:
                family = each
        patch, _, _, width = given[f"{_IMAGE}/embedding/kernel"].shape
        layers, _, heads, _ = given[f"{_ATTENTION}/key/kernel"].shape
        tokens = given[f"{_IMAGE}/pos_embedding"].shape[1]
        vision = VisionSizes(
            width=width,
            layers=layers,
            heads=heads,
            mlp=given[f"{_VISION_LAYERS}/MlpBlock_0/Dense_0/kernel"].shape[2],
            pixels=patch * isqrt(tokens),
            patch=patch,
        )
        whole = Architecture(
            family=family,
            vision=vision,
            language=self._sizes(""),
            words=len(given[f"{_TEXT}/embedder/input_embedding"]),
            steps=steps,
        )
        if family == "pi0_fast":
            return whole
        actions = given["action_out_proj/kernel"].shape[1]
        states = given["state_proj/kernel"].shape[0] if family == "pi0" else actions
        return msgspec.structs.replace(
            whole, expert=self._sizes("_1"), actions=actions, states=states
        )

    def _sizes(self, which: str) -> GemmaSizes:
        layers, heads, width, head = self._given[f"{_TEXT}/layers/attn/q_einsum{which}/w"].shape
        return GemmaSizes(
            width=width,
            mlp=self._given[f"{_TEXT}/layers/mlp{which}/linear"].shape[1],
            layers=layers,
            heads=heads,
            key_heads=self._given[f"{_TEXT}/layers/attn/kv_einsum{which}/w"].shape[2],
            head=head,
        )


def _same(w: NDArray[Any]) -> NDArray[Any]:
    return w


def _heads_out(w: NDArray[Any]) -> NDArray[Any]:
    """[heads, width, head] to [heads x head, width]."""
    return w.transpose(0, 2, 1).reshape(-1, w.shape[1])


def _last_two_out(w: NDArray[Any]) -> NDArray[Any]:
    """[width, heads, head] to [heads x head, width]."""
    return w.reshape(len(w), -1).T


def _first_two_in(w: NDArray[Any]) -> NDArray[Any]:
    """[heads, head, width] to [width, heads x head]."""
    return w.reshape(-1, w.shape[-1]).T

"""The sizes of π0, π0.5 and π0-FAST."""

from __future__ import annotations

from typing import Literal

import msgspec

Family = Literal["pi0", "pi05", "pi0_fast"]
FlowFamily = Literal["pi0", "pi05"]
Origin = Literal["openpi", "lerobot", "holdfast"]
"""Whose code trained a checkpoint: openpi and LeRobot differ in texts, images and formulas;
`holdfast-train` has those of openpi."""


class VisionSizes(msgspec.Struct, frozen=True, kw_only=True):
    """SigLIP; the defaults are those of So400m/14 at 224 x 224 pixels."""

    width: int = 1152
    layers: int = 27
    heads: int = 16
    mlp: int = 4304
    pixels: int = 224
    patch: int = 14

    @property
    def tokens(self) -> int:
        """Tokens of one image."""
        return (self.pixels // self.patch) ** 2


class GemmaSizes(msgspec.Struct, frozen=True, kw_only=True):
    """A Gemma transformer. `key_heads` are the heads of keys and values; each serves
    `heads / key_heads` heads of queries."""

    width: int
    mlp: int
    layers: int = 18
    heads: int = 8
    key_heads: int = 1
    head: int = 256

    @property
    def shared(self) -> int:
        """Heads of queries for each head of keys."""
        return self.heads // self.key_heads


GEMMA = {
    "gemma_2b": GemmaSizes(width=2048, mlp=16384),
    "gemma_300m": GemmaSizes(width=1024, mlp=4096),
}
"""By the names that openpi and LeRobot have for them."""


class NetworkSizes(msgspec.Struct, frozen=True, kw_only=True):
    """The published sizes unless others are given. `language` and `expert` have the same layers and
    heads, because the expert attends to the keys and values of the language model, layer by layer.

    `actions` and `states` are padded sizes. π0 has the state as a token of the expert; π0.5 has it
    in the text, and π0-FAST too, which has no expert.
    """

    vision: VisionSizes = VisionSizes()
    language: GemmaSizes = GEMMA["gemma_2b"]
    expert: GemmaSizes = GEMMA["gemma_300m"]
    words: int = 257152
    actions: int = 32
    states: int = 32
    shortest_period: float = 4e-3
    longest_period: float = 4.0


class Architecture(NetworkSizes, frozen=True, kw_only=True):
    """A model, with chunks of so many `steps`."""

    family: Family
    steps: int = 50

"""A transformer of π0's shape with random weights: what a policy of that size costs to serve.

After π0 (arXiv 2410.24164) as openpi builds it, 3.2 billion parameters: a vision transformer
(SigLIP So400m) makes 256 tokens of each of three images; with the instruction's they go once
through the language model (Gemma 2B), which keeps every layer's keys and values; then a small
action expert (300 M) attends to those, layer by layer, ten times, from noise to a chunk.

Sizes and arithmetic are the original's. The weights are noise, so a chunk means nothing. Left out
is what costs no time: the tokenizer, learned gains, normalization of data, and the mask that keeps
the state from seeing the actions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import PolicyError
from ...policy.base import CameraFeature, Chunk, Observation, PolicySpec
from ...policy.graphs import GraphedFunction
from ...policy.processing import check_observation
from ...policy.tokens import Vocabulary
from ...policy.transformer import sinusoid

CAMERAS = ("base", "left_wrist", "right_wrist")
TASK = "put the red parcel in the left bin"
DEPTH = 18
Pair = tuple[Tensor, Tensor]
Linear = partial(nn.Linear, bias=False)


class Size(NamedTuple):
    """One stack of transformer blocks; fewer `key_heads` than heads share their keys and values."""

    width: int
    perceptron: int
    heads: int
    key_heads: int
    head_width: int
    gated: bool = True


class Shape(NamedTuple):
    """All that the arithmetic depends on; the default is π0's. Images are three, and square."""

    vision: Size = Size(1152, 4304, 16, 16, 72, gated=False)
    language: Size = Size(2048, 16384, 8, 1, 256)
    expert: Size = Size(1024, 4096, 8, 1, 256)
    depth: int = DEPTH
    pixels: int = 224
    patch: int = 14
    vocabulary: int = 257_152
    instruction: int = 48
    chunk: int = 50
    joints: int = 32
    flow_steps: int = 10

    @classmethod
    def fitting(cls, free_bytes: int) -> Shape:
        """The deepest whose bfloat16 weights leave a third of the memory to everything else."""
        for shape in (cls(depth=depth) for depth in range(DEPTH, 0, -1)):
            if 2 * shape.parameters() <= free_bytes * 2 / 3:
                return shape
        free, wanted = free_bytes / 2**30, 3 * cls(depth=1).parameters() / 2**30
        raise PolicyError(f"{free:.1f} GiB are free there, the smallest shape needs {wanted:.1f}")

    def parameters(self) -> int:
        """How many numbers the weights are."""
        with torch.device("meta"):
            return sum(p.numel() for p in Network(self).parameters())


class Pi0Block(nn.Module):
    """Attention over its own tokens and those remembered, then a perceptron per token."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        inner, keys = size.heads * size.head_width, size.key_heads * size.head_width
        self.qkv = Linear(size.width, inner + 2 * keys)
        self.out = Linear(inner, size.width)
        self.wide = Linear(size.width, (1 + size.gated) * size.perceptron)
        self.narrow = Linear(size.perceptron, size.width)

    def forward(self, x: Tensor, turn: Pair, before: Pair | None) -> tuple[Tensor, Pair]:
        """`turn`: cosine and sine of the tokens' places; `before`, and returned: keys, values."""
        size, width = self.size, x.shape[-1:]
        qkv = self.qkv(F.rms_norm(x, width)).unflatten(-1, (-1, size.head_width)).transpose(1, 2)
        q, k, v = qkv.split((size.heads, size.key_heads, size.key_heads), dim=1)
        q, k = _rotated(q, *turn), _rotated(k, *turn)
        if before is not None:
            k, v = torch.cat((before[0], k), dim=2), torch.cat((before[1], v), dim=2)
        seen = F.scaled_dot_product_attention(q, k, v, enable_gqa=size.key_heads < size.heads)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        gate, *wide = self.wide(F.rms_norm(x, width)).chunk(1 + size.gated, dim=-1)
        y = F.gelu(gate, approximate="tanh")
        return x + self.narrow(y * wide[0] if wide else y), (k, v)


class Stack(nn.Module):
    """Blocks, each with what the block of its number remembers in another stack."""

    def __init__(self, size: Size, depth: int) -> None:
        super().__init__()
        self.head_width = size.head_width
        self.blocks = nn.ModuleList(Pi0Block(size) for _ in range(depth))

    def forward(self, x: Tensor, before: Sequence[Pair] = ()) -> tuple[Tensor, list[Pair]]:
        start = before[0][0].shape[2] if before else 0
        place = torch.arange(start, start + x.shape[1], device=x.device)[:, None]
        rate = torch.arange(0, self.head_width, 2, device=x.device) / self.head_width
        angle = place * torch.exp(-math.log(10_000) * rate)
        turn, kept = (angle.cos().to(x.dtype), angle.sin().to(x.dtype)), []
        for number, block in enumerate(self.blocks):
            x, pair = block(x, turn, before[number] if before else None)
            kept.append(pair)
        return F.rms_norm(x, x.shape[-1:]), kept


class Network(nn.Module):
    """Images, instruction, state and noise to a chunk, by flow matching."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.flow_steps = shape.flow_steps
        width, expert = shape.language.width, shape.expert.width
        self.see = nn.Conv2d(3, shape.vision.width, shape.patch, shape.patch, bias=False)
        self.vision = Stack(shape.vision, shape.depth * 3 // 2)
        self.language = Stack(shape.language, shape.depth)
        self.expert = Stack(shape.expert, shape.depth)
        self.project = Linear(shape.vision.width, width)
        self.embed = nn.Embedding(shape.vocabulary, width)
        self.state, self.action = (Linear(shape.joints, expert) for _ in range(2))
        self.mix = nn.Sequential(Linear(2 * expert, expert), nn.SiLU(), Linear(expert, expert))
        self.leave = Linear(expert, shape.joints)

    def forward(self, images: Tensor, tokens: Tensor, state: Tensor, noise: Tensor) -> Tensor:
        """uint8 [b, cameras, h, w, 3], int [b, words], float32 [b, joints] and [b, H, joints]."""
        dtype = self.leave.weight.dtype
        pixels = images.flatten(0, 1).permute(0, 3, 1, 2).to(dtype) / 127.5 - 1
        seen, _ = self.vision(self.see(pixels).flatten(2).transpose(1, 2))
        seen = self.project(seen).unflatten(0, images.shape[:2]).flatten(1, 2)
        _, prefix = self.language(torch.cat((seen, self.embed(tokens)), dim=1))
        now, x = self.state(state.to(dtype))[:, None], noise
        for step in range(self.flow_steps):
            time = torch.full((len(x),), step / self.flow_steps, device=x.device)
            at = sinusoid(time, now.shape[-1]).to(dtype)[:, None].expand(-1, x.shape[1], -1)
            actions = self.mix(torch.cat((self.action(x.to(dtype)), at), dim=-1))
            out, _ = self.expert(torch.cat((now, actions), dim=1), prefix)
            x = x + self.leave(out[:, 1:]).float() / self.flow_steps
        return x


class Pi0SizedPolicy:
    """`Network` as a `ChunkPolicy`; the same weights at every start on a kind of device."""

    checkpoint_hash = "random weights"

    def __init__(self, shape: Shape, device: str, dtype: torch.dtype, graphs: str) -> None:
        self.shape, self.device = shape, torch.device(device)
        joints = tuple(f"joint_{i}" for i in range(shape.joints))
        self.spec = PolicySpec(
            model=f"pi0-{shape.parameters() / 1e9:.1f}B",
            revision="random",
            cameras=tuple(CameraFeature(c, shape.pixels, shape.pixels) for c in CAMERAS),
            state_names=joints,
            action_names=joints,
            chunk_size=shape.chunk,
            fps=50.0,
        )
        self._vocabulary = Vocabulary.of([TASK])
        with torch.device("meta"):
            network = Network(shape).to(dtype)
        self.network = network.to_empty(device=self.device).requires_grad_(requires_grad=False)
        generator = torch.Generator(self.device).manual_seed(0)
        for weight in self.network.parameters():
            weight.normal_(0, weight[0].numel() ** -0.5, generator=generator)
        self.chunks = GraphedFunction.on(self.device, self.network, graphs)

    @property
    def execution(self) -> str:
        """See `GraphedFunction.state`."""
        return self.chunks.state

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """See `ChunkPolicy`."""
        for observation in batch:
            check_observation(self.spec, observation)
        noise = (self.shape.chunk, self.shape.joints)
        inputs = (
            np.stack([[o.images[c] for c in CAMERAS] for o in batch]),
            np.stack([self._vocabulary.encode(o.task, self.shape.instruction) for o in batch]),
            np.stack([o.state for o in batch]),
            np.stack([np.random.default_rng(o.seed).standard_normal(noise, "f4") for o in batch]),
        )
        with torch.no_grad():
            chunks = self.chunks(*(torch.from_numpy(a).to(self.device) for a in inputs))
        return [Chunk(model=chunk, robot=chunk.copy()) for chunk in chunks.cpu().numpy()]


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary places (arXiv 2104.09864)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), dim=-1)

"""The observation encoder: cameras, state and instruction to one vector.

Each camera has its own small convolutional network. The instruction and the state modulate its
features (FiLM, arXiv 1709.07871), so that "red" selects pixels, and a spatial softmax (arXiv
1504.00702) reduces each feature map to the position of its maximum: for picking up objects the
position matters, and it survives a smaller image better than a pooled texture.

Training supervises what the simulator knows: true positions, and for each camera the cell of the
named object, or that it is in none. Both are inputs of the vector, so that the network learns
faster. A classification over the cells separates similar objects long before a regression of their
coordinates, because two candidates pull a mean to the empty place between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from .checkpoint import Config
from .tokens import PAD, Vocabulary

STRIDE = 4
"""Pixels per cell of a feature map, in each direction."""


class Clues(NamedTuple):
    """Auxiliary predictions that training supervises.

    `places` [b, places] are regressed quantities; `maps` holds for each camera the logits [b,
    cells + 1] of the cell of the named object, row by row, the last for none.
    """

    places: Tensor
    maps: tuple[Tensor, ...]


class SpatialSoftmax(nn.Module):
    """Each feature map to the expected position of its mass, in [-1, 1], and its maximum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.ones(channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        height, width = x.shape[2:]
        flat = x.flatten(2)
        mass = torch.softmax(flat * self.sharpness[:, None], dim=-1).view(x.shape)
        across = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype)
        down = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)
        column = (mass.sum(2) * across).sum(-1)
        row = (mass.sum(3) * down).sum(-1)
        return torch.cat((column, row, torch.tanh(flat.amax(-1) / 8)), dim=-1)


class CameraEncoder(nn.Module):
    """One camera's image to a vector of positions, which are finer than the stride of 4 pixels."""

    def __init__(self, condition: int, width: int, places: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width // 2, 5, stride=2, padding=2)
        self.down = nn.Conv2d(width // 2, width, 3, stride=2, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for _ in range(2))
        self.films = nn.ModuleList(nn.Linear(condition, 2 * width) for _ in range(2))
        # The first map is that of the named object.
        self.head = nn.Conv2d(width, places, 1)
        self.places = SpatialSoftmax(places)
        self.nowhere = nn.Parameter(torch.zeros(1))

    def forward(
        self, image: UInt8[Tensor, "b h w 3"], condition: Float[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b f"], Float[Tensor, "b cells"]]:
        """The features, and the logits of the named object's cell."""
        x = image.permute(0, 3, 1, 2).to(condition.dtype) / 127.5 - 1.0
        x = F.silu(self.stem(x))
        x = F.silu(self.down(x))
        for conv, norm, film in zip(self.convs, self.norms, self.films, strict=True):
            gain, shift = film(condition)[:, :, None, None].chunk(2, dim=1)
            x = x + F.silu(norm(conv(x)) * (1 + gain) + shift)
        maps = self.head(x)
        logits = torch.cat((maps[:, 0].flatten(1), self.nowhere.expand(len(x), 1)), dim=1)
        unseen = torch.softmax(logits, dim=1)[:, -1:]
        return torch.cat((self.places(maps), unseen), dim=1), logits


class InstructionEncoder(nn.Module):
    """The words' mean embedding through a small network, which ignores their order."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.mix = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, tokens: Int[Tensor, "b l"]) -> Float[Tensor, "b width"]:
        # The clamp keeps an empty instruction finite.
        count = (tokens != PAD).sum(1, keepdim=True).clamp(min=1)
        embedding: Tensor = self.mix(self.embed(tokens).sum(1) / count)
        return embedding


class EncoderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of config.json's `network` that every kind has."""

    width: int = 128
    camera_width: int = 32
    places: int = 24
    auxiliary: int = 0
    instruction_words: int = 16


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network that the spec and the vocabulary determine."""

    cameras: tuple[str, ...]
    state: int
    actions: int
    steps: int
    vocabulary: int

    @classmethod
    def of(cls, config: Config) -> Sizes:
        """The sizes of a checkpoint's network."""
        return cls(
            cameras=tuple(c.name for c in config.spec.cameras),
            state=len(config.spec.state_names),
            actions=len(config.spec.action_names),
            steps=config.spec.chunk_size,
            vocabulary=len(Vocabulary(config.vocabulary)),
        )


class _Predictions(nn.Linear):
    """A linear layer that may have no outputs: torch warns of initializing those."""

    def reset_parameters(self) -> None:
        if self.out_features:
            super().reset_parameters()


class ObservationEncoder(nn.Module):
    """Images, state and instruction to one vector [b, width]."""

    def __init__(self, config: EncoderConfig, sizes: Sizes) -> None:
        super().__init__()
        self.instruction = InstructionEncoder(sizes.vocabulary, 32)
        self.state = nn.Sequential(nn.Linear(sizes.state, 64), nn.SiLU(), nn.Linear(64, 32))
        self.eyes = nn.ModuleList(
            CameraEncoder(64, config.camera_width, config.places) for _ in sizes.cameras
        )
        seen = 64 + len(sizes.cameras) * (3 * config.places + 1)
        self.auxiliary = nn.Sequential(
            nn.Linear(seen, config.width), nn.SiLU(), _Predictions(config.width, config.auxiliary)
        )
        self.fuse = nn.Sequential(
            nn.Linear(seen + config.auxiliary + sizes.state, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
        )

    def forward(
        self,
        images: tuple[UInt8[Tensor, "b _ _ 3"], ...],
        state: Float[Tensor, "b s"],
        tokens: Int[Tensor, "b l"],
    ) -> tuple[Float[Tensor, "b width"], Clues]:
        """The vector, and the auxiliary predictions that it was made from."""
        condition = torch.cat((self.instruction(tokens), self.state(state)), dim=-1)
        encoded = [eye(image, condition) for eye, image in zip(self.eyes, images, strict=True)]
        seen = torch.cat((condition, *(features for features, _ in encoded)), dim=-1)
        places = self.auxiliary(seen)
        vector = self.fuse(torch.cat((seen, places, state), dim=-1))
        return vector, Clues(places, tuple(logits for _, logits in encoded))


class EncodingNetwork(nn.Module):
    """A policy's network: an encoder, and in the subclass the part from its vector to chunks."""

    def __init__(self, config: EncoderConfig, sizes: Sizes) -> None:
        super().__init__()
        self.encoder = ObservationEncoder(config, sizes)

    def observe(
        self,
        images: tuple[UInt8[Tensor, "b _ _ 3"], ...],
        state: Float[Tensor, "b s"],
        tokens: Int[Tensor, "b l"],
    ) -> tuple[Float[Tensor, "b width"], Clues]:
        """The observation vector, computed once per chunk, and the auxiliary predictions."""
        seen: tuple[Tensor, Clues] = self.encoder(images, state, tokens)
        return seen

    def loss(
        self,
        seen: Float[Tensor, "b width"],
        chunk: Float[Tensor, "b h a"],
        given: Bool[Tensor, "b h"],
        counts: Bool[Tensor, "b h"],
        time: Float[Tensor, " b"],
        noise: Float[Tensor, "b h a"],
    ) -> Float[Tensor, ""]:
        """The training loss of `chunk`, over the steps that count and are not given; `time` and
        `noise` are random, for the kinds that denoise."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is trained")

"""A small diffusion policy (arXiv 2303.04137) with fixed random weights.

It is stateful: each chunk is denoised from the last two observations, of which it keeps the older
one. It is served with the pipeline of the shipped policies.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.policy.base import Chunk, Observation
from holdfast.policy.checkpoint import Config, read_config, read_stats, save
from holdfast.policy.encoder import EncoderConfig, EncodingNetwork, Sizes
from holdfast.policy.learned import LearnedPolicy, network_config
from holdfast.policy.processing import Sample, check_observation
from holdfast.policy.transformer import sinusoid

OBSERVATIONS = 2
"""n_obs_steps: a trajectory begins at the oldest of them, the chunk at the newest."""

TRAINED_STEPS = 100
"""Of the noise schedule; sampling takes a few of them."""


class DiffusionConfig(EncoderConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `network` of its config.json."""

    channels: int = 16
    ddim_steps: int = 6


class DiffusionNetwork(EncodingNetwork):
    """Noisy trajectory and two observations to a clean trajectory: convolutions over time, their
    channels scaled and shifted by what was seen and by how noisy it still is."""

    def __init__(self, config: DiffusionConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        condition = OBSERVATIONS * config.width + 32
        self.enter = nn.Conv1d(sizes.actions, config.channels, 3, padding=1)
        self.convs = nn.ModuleList(
            nn.Conv1d(config.channels, config.channels, 3, padding=1) for _ in range(2)
        )
        self.films = nn.ModuleList(nn.Linear(condition, 2 * config.channels) for _ in range(2))
        self.leave = nn.Conv1d(config.channels, sizes.actions, 1)

    def clean(self, seen: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The trajectory [b, T, A] that `noisy` is guessed to come from."""
        condition = torch.cat((seen, sinusoid(time, 32)), dim=-1)
        x = self.enter(noisy.transpose(1, 2))
        for conv, film in zip(self.convs, self.films, strict=True):
            gain, shift = film(condition)[..., None].chunk(2, dim=1)
            x = x + F.mish(conv(x) * (1 + gain) + shift)
        trajectory: Tensor = self.leave(x).transpose(1, 2)
        return trajectory


class DiffusionPolicy(LearnedPolicy):
    """Keeps the last observation until `reset`, which does nothing without `forgets`.

    `batches` holds the sizes of all batches.
    """

    network: DiffusionNetwork

    def __init__(self, checkpoint: Path, *, device: str = "cpu", dtype: str = "float32") -> None:
        super().__init__(checkpoint, device=device, dtype=dtype)
        self.batches: list[int] = []
        self.forgets = True
        self._history: deque[Observation] = deque(maxlen=OBSERVATIONS)

    def _network(self, config: Config) -> DiffusionNetwork:
        self._ddim_steps = network_config(config, DiffusionConfig).ddim_steps
        return DiffusionNetwork(network_config(config, DiffusionConfig), Sizes.of(config))

    def reset(self) -> None:
        """Begin a new episode."""
        if self.forgets:
            self._history.clear()

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk from the one observation and the one before it."""
        self.batches.append(len(batch))
        [observation] = batch
        check_observation(self.spec, observation)
        self._history.append(observation)
        return super().predict_chunk(batch)

    def _inputs(
        self, batch: Sequence[Observation], samples: Sequence[Sample]
    ) -> tuple[Tensor, ...]:
        """The noise, and what was observed before: at the first step, the same as now."""
        steps = OBSERVATIONS - 1 + self.spec.chunk_size
        shape = (steps, len(self.spec.action_names))
        noise = [np.random.default_rng(o.seed).standard_normal(shape, np.float32) for o in batch]
        before = [self._history[0]]
        return self._tensor(noise), *self._observed(before, [self.pipeline.before(before[0])])

    def _actions(self, seen: Tensor, *inputs: Tensor) -> Tensor:
        """DDIM (arXiv 2010.02502) without added noise, from noise to a trajectory."""
        x, *before = inputs
        both = torch.cat((self._seen(*before), seen), dim=-1)
        steps = np.linspace(TRAINED_STEPS - 1, 0, self._ddim_steps).round().astype(int)
        for step, following in zip(steps, [*steps[1:], -1], strict=True):
            time = torch.full((len(x),), (step + 1) / TRAINED_STEPS, dtype=x.dtype, device=x.device)
            clean = self.network.clean(both, x, time)
            signal, signal_next = _signal(step), _signal(following)
            noise = (x - math.sqrt(signal) * clean) / math.sqrt(1 - signal)
            x = math.sqrt(signal_next) * clean + math.sqrt(1 - signal_next) * noise
        return x[:, OBSERVATIONS - 1 :]


def _signal(step: int) -> float:
    """The share of the signal's variance after `step` (the squared cosine of arXiv 2102.09672); all
    of it at -1."""
    offset = 0.008
    level = [
        math.cos((at / TRAINED_STEPS + offset) / (1 + offset) * math.pi / 2) ** 2
        for at in (step + 1, 0)
    ]
    return min(level[0] / level[1], 1.0) if step >= 0 else 1.0


def make(directory: Path, like: Path, *, stateful: bool = True) -> Path:
    """A checkpoint for the robot of the checkpoint `like`; `stateful` is what its spec claims.

    One action is relative to the state, so that its two spaces differ by more than a scale.
    """
    config = read_config(like)
    spec = msgspec.structs.replace(
        config.spec, model="diffusion", prefix="none", max_prefix_steps=0, stateful=stateful
    )
    config = msgspec.structs.replace(
        config,
        kind="diffusion",
        spec=spec,
        network={"width": 16, "camera_width": 8, "places": 4, "auxiliary": 3},
        relative_actions=("x",),
    )
    network = DiffusionNetwork(network_config(config, DiffusionConfig), Sizes.of(config))
    generator = torch.Generator().manual_seed(1)
    weights = {
        name: (0.3 * torch.randn(p.shape, generator=generator)).numpy()
        for name, p in network.named_parameters()
    }
    save(directory, config, read_stats(like), weights)
    return directory

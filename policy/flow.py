"""The flow-matching policy: observations in, chunks out.

Guarantees: the same observation gives the same chunk, bit for bit, when it is alone in its batch on
the same machine and number of threads; in a larger batch it agrees within float tolerance (kernels
sum in another order) and no sample ever sees another one. Prefix steps that are certain to be
played come back exactly as they were given. Nothing is remembered between calls.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from .base import Chunk, Observation, PolicyError, PolicySpec
from .checkpoint import Config, NormStats, checkpoint_hash, read_config, read_stats, read_weights
from .flow_network import FlowConfig, FlowNetwork
from .normalize import Normalizer
from .processing import Normalize, Pipeline, Sample, Tokenize, check_observation
from .tokens import Vocabulary


def network_of(config: Config) -> FlowNetwork:
    """The untrained network that `config` describes."""
    try:
        network = msgspec.convert(config.network, FlowConfig)
    except msgspec.ValidationError as error:
        raise PolicyError(f"config.json: network: {error}") from error
    spec = config.spec
    return FlowNetwork(
        network,
        cameras=tuple(c.name for c in spec.cameras),
        state=len(spec.state_names),
        actions=len(spec.action_names),
        steps=spec.chunk_size,
        vocabulary=len(Vocabulary(config.vocabulary)),
    )


def pipeline_of(config: Config, stats: NormStats) -> Pipeline:
    """The steps around the network, as training applies them too."""
    words = msgspec.convert(config.network, FlowConfig).instruction_words
    return Pipeline(
        (
            Normalize(
                Normalizer(stats.state, config.state_mode),
                Normalizer(stats.action, config.action_mode),
            ),
            Tokenize(Vocabulary(config.vocabulary), words),
        )
    )


class FlowPolicy:
    """A flow checkpoint on one device; see the module for what it guarantees."""

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        euler_steps: int | None = None,
    ) -> None:
        config = read_config(checkpoint)
        self.spec: PolicySpec = config.spec
        self.checkpoint_hash = checkpoint_hash(checkpoint)
        self.pipeline = pipeline_of(config, read_stats(checkpoint))
        self.euler_steps = euler_steps or FlowConfig(**config.network).euler_steps
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self.network = network_of(config)
        weights = {k: torch.from_numpy(v) for k, v in read_weights(checkpoint).items()}
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise PolicyError(
                f"{checkpoint}: model.safetensors does not fit config.json: {error}"
            ) from error
        self.network.to(self.device, self.dtype).eval().requires_grad_(False)

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """See `ChunkPolicy`."""
        for observation in batch:
            check_observation(self.spec, observation)
        samples = [self.pipeline.before(o) for o in batch]
        with torch.inference_mode():
            seen, _ = self.network.observe(
                tuple(
                    torch.from_numpy(np.stack([o.images[c.name] for o in batch])).to(self.device)
                    for c in self.spec.cameras
                ),
                self._tensor([s.state for s in samples]),
                torch.from_numpy(np.stack([_tokens(s) for s in samples])).to(self.device),
            )
            prefix, given = self._given(batch, samples)
            actions = self._denoise(seen, self._noise(batch), prefix, given)
        chunks = actions.float().cpu().numpy()
        return [self.pipeline.after(c, s) for c, s in zip(chunks, samples, strict=True)]

    def _denoise(self, seen: Tensor, noise: Tensor, prefix: Tensor, given: Tensor) -> Tensor:
        """Euler steps from noise to a chunk, the prefix clamped before each and after the last."""
        held = given[..., None]
        x, dt = torch.where(held, prefix, noise), 1.0 / self.euler_steps
        for step in range(self.euler_steps):
            time = torch.full((len(x),), step * dt, device=x.device, dtype=x.dtype)
            x = x + dt * self.network.direction(seen, x, time, given)
            x = torch.where(held, prefix, x)
        return x

    def _given(
        self, batch: Sequence[Observation], samples: Sequence[Sample]
    ) -> tuple[Tensor, Tensor]:
        """Prefixes [b, H, A], zero-filled, and which steps of them are sure to be played."""
        spec = self.spec
        prefix = np.zeros((len(batch), spec.chunk_size, len(spec.action_names)), np.float32)
        given = np.zeros(prefix.shape[:2], bool)
        if spec.prefix != "none":
            for i, (observation, sample) in enumerate(zip(batch, samples, strict=True)):
                if sample.prefix is not None:
                    sure = min(
                        observation.delay_steps, len(sample.prefix), self.spec.max_prefix_steps
                    )
                    prefix[i, :sure], given[i, :sure] = sample.prefix[:sure], True
        return self._tensor(list(prefix)), torch.from_numpy(given).to(self.device)

    def _noise(self, batch: Sequence[Observation]) -> Tensor:
        """Each sample's own noise, from its own seed."""
        shape = (self.spec.chunk_size, len(self.spec.action_names))
        return self._tensor(
            [np.random.default_rng(o.seed).standard_normal(shape, np.float32) for o in batch]
        )

    def _tensor(self, rows: Sequence[np.typing.NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.stack(rows)).to(self.device, self.dtype)


def _tokens(sample: Sample) -> np.typing.NDArray[np.int64]:
    assert sample.tokens is not None, "the pipeline holds no Tokenize step"
    return sample.tokens

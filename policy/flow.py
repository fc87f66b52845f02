"""The flow-matching policy: observations in, chunks out.

Guarantees: the same observation gives the same chunk, bit for bit, when it is alone in its batch on
the same machine and number of threads; in a larger batch it agrees within float tolerance (kernels
sum in another order) and no sample ever sees another one. Prefix steps that are certain to be
played come back exactly as they were given, unless guidance was asked for in the place of trained
conditioning: that only makes agreement likely. Nothing is remembered between calls.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor

from .base import Chunk, Observation, PolicyError, PolicySpec
from .checkpoint import Config, NormStats, checkpoint_hash, read_config, read_stats, read_weights
from .flow_network import FlowConfig, FlowNetwork
from .normalize import Normalizer
from .processing import Normalize, Pipeline, Sample, Tokenize, check_observation
from .rtc import Guidance, guided_direction, prefix_weights
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
        checkpoint: str | os.PathLike[str],
        *,
        device: str = "cpu",
        dtype: str = "float32",
        euler_steps: int | None = None,
        prefix: Literal["none", "guided", "trained"] | None = None,
        **guidance: Any,
    ) -> None:
        """`prefix` chooses another way to continue a plan than the checkpoint's own; `guidance` are
        the fields of `rtc.Guidance`, for `prefix="guided"`."""
        config = read_config(checkpoint)
        self.spec = _with_prefix(config.spec, prefix)
        self.guidance = _guidance(self.spec, guidance)
        self.checkpoint_hash = checkpoint_hash(checkpoint)
        self.pipeline = pipeline_of(config, read_stats(checkpoint))
        self.network = network_of(config)
        self.euler_steps = euler_steps or FlowConfig(**config.network).euler_steps
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
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
        # Not inference mode: guidance differentiates through tensors made here.
        with torch.no_grad():
            seen, _ = self.network.observe(
                tuple(
                    torch.from_numpy(np.stack([o.images[c.name] for o in batch])).to(self.device)
                    for c in self.spec.cameras
                ),
                self._tensor([s.state for s in samples]),
                torch.from_numpy(np.stack([_tokens(s) for s in samples])).to(self.device),
            )
            denoise = self._guide if self.spec.prefix == "guided" else self._clamp
            actions = denoise(seen, self._noise(batch), batch, samples)
        chunks = actions.float().cpu().numpy()
        return [self.pipeline.after(c, s) for c, s in zip(chunks, samples, strict=True)]

    def _clamp(
        self, seen: Tensor, x: Tensor, batch: Sequence[Observation], samples: Sequence[Sample]
    ) -> Tensor:
        """Euler steps from noise to a chunk, the prefix clamped before each and after the last."""
        limit = 0 if self.spec.prefix == "none" else self.spec.max_prefix_steps
        prefix, lengths = self._prefixes(samples)
        sure = [min(o.delay_steps, n, limit) for o, n in zip(batch, lengths, strict=True)]
        step = torch.arange(x.shape[1], device=self.device)
        given = step < torch.tensor(sure, device=self.device)[:, None]
        held = given[..., None]
        x = torch.where(held, prefix, x)
        for time in self._times():
            at = torch.full((len(x),), time, device=x.device, dtype=x.dtype)
            x = x + self.network.direction(seen, x, at, given) / self.euler_steps
            x = torch.where(held, prefix, x)
        return x

    def _guide(
        self, seen: Tensor, x: Tensor, batch: Sequence[Observation], samples: Sequence[Sample]
    ) -> Tensor:
        """Euler steps from noise to a chunk, each bent towards the prefix."""
        guidance = self.guidance
        prefix, lengths = self._prefixes(samples)
        weights = self._tensor(
            [
                prefix_weights(
                    guidance.schedule,
                    delay=o.delay_steps,
                    horizon=min(n, guidance.execution_horizon or n),
                    steps=x.shape[1],
                )
                for o, n in zip(batch, lengths, strict=True)
            ]
        )
        for time in self._times():
            at = torch.full((len(x),), time, device=x.device, dtype=x.dtype)
            clean = partial(self.network.clean, seen, time=at)
            direction = guided_direction(clean, x, time, prefix, weights, guidance)
            x = x + direction / self.euler_steps
        return x

    def _times(self) -> list[float]:
        return [step / self.euler_steps for step in range(self.euler_steps)]

    def _prefixes(self, samples: Sequence[Sample]) -> tuple[Tensor, list[int]]:
        """Prefixes [b, H, A], filled up with zeros, and how long each is."""
        shape = (len(samples), self.spec.chunk_size, len(self.spec.action_names))
        prefixes, lengths = np.zeros(shape, np.float32), []
        for row, sample in zip(prefixes, samples, strict=True):
            known = sample.prefix if sample.prefix is not None else row[:0]
            length = min(len(known), len(row))
            row[:length] = known[:length]
            lengths.append(length)
        return self._tensor(list(prefixes)), lengths

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


def _with_prefix(
    spec: PolicySpec, prefix: Literal["none", "guided", "trained"] | None
) -> PolicySpec:
    if prefix is None or prefix == spec.prefix:
        return spec
    if prefix == "trained":
        raise PolicyError(
            f"{spec.model} was not trained with prefixes (its spec says '{spec.prefix}'); "
            "ask for prefix 'guided' or train it again"
        )
    if prefix not in ("none", "guided"):
        raise PolicyError(f"prefix must be none, guided or trained, found '{prefix}'")
    steps = spec.chunk_size if prefix == "guided" else 0
    return msgspec.structs.replace(spec, prefix=prefix, max_prefix_steps=steps)


def _guidance(spec: PolicySpec, options: dict[str, Any]) -> Guidance:
    if options and spec.prefix != "guided":
        raise PolicyError(
            f"{', '.join(options)}: guidance options are for prefix 'guided', "
            f"this policy's is '{spec.prefix}'"
        )
    try:
        return msgspec.convert(options, Guidance)
    except msgspec.ValidationError as error:
        raise PolicyError(f"guidance: {error}") from error

"""The flow-matching policy: from noise to a chunk in a few steps, continuing the current plan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor

from . import continuation
from .base import Observation
from .checkpoint import Config
from .encoder import Sizes
from .flow_network import FlowConfig, FlowNetwork
from .learned import LearnedPolicy, network_config
from .policy_options import FlowOptions
from .processing import Sample
from .rtc import Guidance, guided_direction


class FlowPolicy(LearnedPolicy):
    """A flow checkpoint on one device. With trained conditioning, the prefix's certain steps are
    returned exactly; with guidance, approximately."""

    network: FlowNetwork

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        *,
        device: str = "cpu",
        dtype: str = "float32",
        graphs: object = "auto",
        euler_steps: int | None = None,
        prefix: Literal["none", "guided", "trained"] | None = None,
        **guidance: Any,
    ) -> None:
        """Load `checkpoint`. `prefix` replaces the checkpoint's own way of continuing a plan;
        `guidance` are the fields of `rtc.Guidance`, for `prefix="guided"`. Only `load_policy`
        validates them. Raises PolicyError."""
        super().__init__(checkpoint, device=device, dtype=dtype, graphs=graphs)
        self.guidance = msgspec.convert(guidance, Guidance)
        horizon = self.guidance.execution_horizon
        self.spec = FlowOptions(prefix=prefix, execution_horizon=horizon).applied(self.spec)
        self.euler_steps = euler_steps or self.network.euler_steps
        if self.spec.prefix == "guided" and self.guidance.jacobian == "gradient":
            self.chunks.stay_eager("guidance by gradient differentiates while it denoises")

    def _network(self, config: Config) -> FlowNetwork:
        return FlowNetwork(network_config(config, FlowConfig), Sizes.of(config))

    def _inputs(
        self, batch: Sequence[Observation], samples: Sequence[Sample]
    ) -> tuple[Tensor, ...]:
        """Noise [b, H, A], prefixes [b, H, A], and the steps that belong to the prefix [b, H]:
        weights for guidance and the clips of its strength [b], else a mask."""
        steps, actions = self.spec.chunk_size, len(self.spec.action_names)
        noise = self._tensor(
            [
                np.random.default_rng(o.seed).standard_normal((steps, actions), np.float32)
                for o in batch
            ]
        )
        nothing = np.zeros((0, actions), np.float32)
        known = [nothing if s.prefix is None else s.prefix for s in samples]
        prefixes, lengths = continuation.padded(known, steps, actions)
        prefix = self._tensor(list(prefixes))
        if self.spec.prefix == "guided":
            weights, clips = continuation.guided(batch, lengths, self.guidance, steps)
            return noise, prefix, self._tensor(list(weights)), self._tensor(list(clips))
        limit = 0 if self.spec.prefix == "none" else self.spec.max_prefix_steps
        given = continuation.given(batch, lengths, limit, steps)
        return noise, prefix, torch.from_numpy(given).to(self.device)

    def _actions(self, seen: Tensor, *inputs: Tensor) -> Tensor:
        return (self._guide if self.spec.prefix == "guided" else self._clamp)(seen, *inputs)

    def _clamp(self, seen: Tensor, x: Tensor, prefix: Tensor, given: Tensor) -> Tensor:
        """Euler steps from noise to a chunk, the prefix clamped before each and after the last."""
        held = given[..., None]
        x = torch.where(held, prefix, x)
        for time in self._times():
            times = torch.full((len(x),), time, device=x.device, dtype=x.dtype)
            x = x + self.network.direction(seen, x, times, given) / self.euler_steps
            x = torch.where(held, prefix, x)
        return x

    def _guide(
        self, seen: Tensor, x: Tensor, prefix: Tensor, weights: Tensor, clip: Tensor
    ) -> Tensor:
        """Euler steps from noise to a chunk, each guided towards the prefix."""
        for time in self._times():
            times = torch.full((len(x),), time, device=x.device, dtype=x.dtype)
            clean = partial(self.network.clean, seen, time=times)
            direction = guided_direction(
                clean, x, time, prefix, weights, clip, self.guidance.jacobian
            )
            x = x + direction / self.euler_steps
        return x

    def _times(self) -> list[float]:
        return [step / self.euler_steps for step in range(self.euler_steps)]

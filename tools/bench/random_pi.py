"""`RandomPi`: the network of `policy: pi0 | pi05` with random weights, as a policy.

The arithmetic is that of a checkpoint. What costs no time beside it is left out: the tokenizer (a
prompt has random tokens, as many as `WORDS`), statistics and the steps of a robot's data.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from ...errors import PolicyError
from ...policy.base import CameraFeature, Chunk, Observation, PolicySpec
from ...policy.pi0.architecture import Architecture, Family
from ...policy.pi0.checkpoint_layout import PROMPT_TOKENS, CheckpointLayout
from ...policy.pi0.pi_model import PiModel
from ...policy.pi0.pi_network import PiNetwork
from ...policy.pi0.pi_options import PiOptions
from ...policy.pi0.pi_sample import PiSample
from ...policy.processing import check_observation
from .pi_sizes import VIEWS, WORDS


def parameters(architecture: Architecture) -> int:
    """How many numbers the weights are."""
    with torch.device("meta"):
        return sum(p.numel() for p in PiNetwork(architecture).parameters())


def fitting(family: Family, free_bytes: int) -> Architecture:
    """The published sizes, with as many layers as leave a third of the memory to everything else
    when the weights are in bfloat16. Raises PolicyError where not one layer does."""
    whole = Architecture(family=family)
    for layers in range(whole.language.layers, 0, -1):
        less = msgspec.structs.replace(
            whole,
            language=msgspec.structs.replace(whole.language, layers=layers),
            expert=msgspec.structs.replace(whole.expert, layers=layers),
            vision=msgspec.structs.replace(whole.vision, layers=layers * 3 // 2),
        )
        if 2 * parameters(less) <= free_bytes * 2 / 3:
            return less
    free, wanted = free_bytes / 2**30, 3 * parameters(less) / 2**30
    raise PolicyError(f"{free:.1f} GiB are free there, the smallest shape needs {wanted:.1f}")


def random_network(
    architecture: Architecture, device: torch.device, dtype: torch.dtype
) -> PiNetwork:
    """The same weights at every start on a kind of device; their spread keeps signals from
    vanishing or growing."""
    with torch.device("meta"):
        network = PiNetwork(architecture).to(dtype)
    network = network.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            spread = weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.1
            weight.normal_(0, spread, generator=generator)
    return network.eval().requires_grad_(requires_grad=False)


class RandomPi:
    """A `ChunkPolicy` of `architecture` with so many `views`, whose chunks are noise."""

    checkpoint_hash = "random weights"

    def __init__(
        self,
        architecture: Architecture,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        views: int = len(VIEWS),
        options: PiOptions | None = None,
    ) -> None:
        options = options or PiOptions(prefix="none")
        pixels, family = architecture.vision.pixels, architecture.family
        self._architecture = architecture
        self.spec = options.continuing(
            PolicySpec(
                model=f"{family}-{parameters(architecture) / 1e9:.1f}B",
                revision="random",
                cameras=tuple(CameraFeature(view, pixels, pixels) for view in VIEWS[:views]),
                state_names=tuple(f"joint_{i}" for i in range(architecture.states)),
                action_names=tuple(f"joint_{i}" for i in range(architecture.actions)),
                chunk_size=architecture.steps,
                fps=50.0,
            )
        )
        layout = CheckpointLayout(
            folder=Path(),
            origin="openpi",
            architecture=architecture,
            prompt_tokens=PROMPT_TOKENS[family],
            euler_steps=options.euler_steps or 10,
            config={},
        )
        network = random_network(architecture, torch.device(device), dtype)
        self.model = PiModel(network, layout, self.spec, options)

    @property
    def execution(self) -> str:
        """See `GraphedFunction.state`."""
        return self.model.chunks.state

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """See `ChunkPolicy`."""
        chunks = self.model.predict([self._sample(each) for each in batch])
        return [Chunk(model=chunk, robot=chunk.copy()) for chunk in chunks]

    def _sample(self, observation: Observation) -> PiSample:
        check_observation(self.spec, observation)
        of_task = np.random.default_rng(zlib.crc32(observation.task.encode()))
        none = np.zeros((0, self._architecture.actions), np.float32)
        return PiSample(
            asked=observation,
            images=dict(observation.images),
            tokens=of_task.integers(1, self._architecture.words, WORDS).tolist(),
            state=observation.state,
            prefix=none if observation.prefix is None else observation.prefix,
        )

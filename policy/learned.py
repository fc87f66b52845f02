"""The base of the trained policies: from a checkpoint to chunks, around their network.

Guarantees: the same observation gives the same chunk, bit for bit, alone in its batch on the same
machine and number of threads; in a larger batch it agrees within float tolerance (kernels sum in
another order) and no sample influences another. No state is kept between calls.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import PolicyError
from .base import Chunk, Observation, PolicySpec
from .checkpoint import Config, NormStats, checkpoint_hash, read_config, read_stats, read_weights
from .encoder import EncoderConfig, EncodingNetwork
from .graphs import GraphedFunction
from .normalize import Normalizer
from .processing import (
    Clamp,
    Normalize,
    Pipeline,
    RelativeActions,
    Sample,
    Step,
    Tokenize,
    check_observation,
)
from .tokens import Vocabulary
from .torch_devices import device_of, dtype_of

C = TypeVar("C", bound=EncoderConfig)


def network_config(config: Config, kind: type[C]) -> C:
    """config.json's `network` as `kind`. Raises PolicyError that names the field."""
    try:
        return msgspec.convert(config.network, kind)
    except msgspec.ValidationError as error:
        raise PolicyError(f"config.json: network: {error}") from error


def pipeline_of(config: Config, stats: NormStats) -> Pipeline:
    """The steps around the network, which are those of training."""
    words = int(config.network.get("instruction_words", EncoderConfig().instruction_words))
    state = Normalizer(stats.state, config.state_mode)
    action = Normalizer(stats.action, config.action_mode)
    normalize = Normalize(state, action, config.state_bound)
    steps: list[Step] = [normalize, Tokenize(Vocabulary(config.vocabulary), words)]
    if config.relative_actions:
        steps.insert(0, RelativeActions.named(config.spec, config.relative_actions))
    if config.action_limits is not None:
        lower, upper = (np.array(limit, np.float32) for limit in config.action_limits)
        steps.insert(0, Clamp(lower, upper))
    return Pipeline(steps)


class LearnedPolicy(ABC):
    """A checkpoint on one device. `graphs` is `auto` (CUDA graphs on a GPU) or `off`.

    Raises PolicyError for a checkpoint, device or dtype that cannot be used.
    """

    spec: PolicySpec
    checkpoint_hash: str

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        *,
        device: str = "cpu",
        dtype: str = "float32",
        graphs: object = "auto",
    ) -> None:
        config = read_config(checkpoint)
        self.spec = config.spec
        self.checkpoint_hash = checkpoint_hash(checkpoint)
        self.pipeline = pipeline_of(config, read_stats(checkpoint))
        self.device, self.dtype = device_of(device), dtype_of(dtype)
        self.network = self._network(config)
        weights = {k: torch.from_numpy(v) for k, v in read_weights(checkpoint).items()}
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise PolicyError(
                f"{checkpoint}: model.safetensors does not fit config.json: {error}"
            ) from error
        self.network.to(self.device, self.dtype).eval().requires_grad_(requires_grad=False)
        self.chunks = GraphedFunction.on(self.device, self._chunks, graphs)

    @property
    def execution(self) -> str:
        """How the network runs, for the status: as graphs of which batch sizes, or why eagerly."""
        return self.chunks.state

    @abstractmethod
    def _network(self, config: Config) -> EncodingNetwork:
        """The untrained network that `config` describes."""

    @abstractmethod
    def _actions(self, seen: Tensor, *inputs: Tensor) -> Tensor:
        """Chunks [b, H, A] in model space from the observation vector [b, width] and `_inputs`.

        A function of these tensors alone, so that it can be captured as a graph.
        """

    def _inputs(
        self, batch: Sequence[Observation], samples: Sequence[Sample]
    ) -> tuple[Tensor, ...]:
        """The other inputs of `_actions`, on the device; their shapes depend on the batch size
        only."""
        return ()

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order. Raises ValueError for one that does not fit the
        spec."""
        for observation in batch:
            check_observation(self.spec, observation)
        samples = [self.pipeline.before(o) for o in batch]
        inputs = (*self._observed(batch, samples), *self._inputs(batch, samples))
        # Not inference mode: guidance differentiates through tensors made here.
        with torch.no_grad():
            actions = self.chunks(*inputs)
        chunks = actions.float().cpu().numpy()
        return [self.pipeline.after(c, s) for c, s in zip(chunks, samples, strict=True)]

    def _observed(
        self, batch: Sequence[Observation], samples: Sequence[Sample]
    ) -> tuple[Tensor, ...]:
        """The images by camera, the states and the instructions, on the device."""
        images = [np.stack([o.images[c.name] for o in batch]) for c in self.spec.cameras]
        tokens = np.stack([_tokens(s) for s in samples])
        return (
            *(torch.from_numpy(i).to(self.device) for i in images),
            self._tensor([s.state for s in samples]),
            torch.from_numpy(tokens).to(self.device),
        )

    def _seen(self, *observed: Tensor) -> Tensor:
        """The observation vector [b, width] of `_observed`."""
        *images, state, tokens = observed
        seen, _ = self.network.observe(tuple(images), state, tokens)
        return seen

    def _chunks(self, *inputs: Tensor) -> Tensor:
        """The whole computation of the device for a batch, from `_observed` and `_inputs`."""
        observed = len(self.spec.cameras) + 2
        return self._actions(self._seen(*inputs[:observed]), *inputs[observed:])

    def _tensor(self, rows: Sequence[NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.stack(rows)).to(self.device, self.dtype)


def _tokens(sample: Sample) -> NDArray[np.int64]:
    assert sample.tokens is not None, "the pipeline has no Tokenize step"
    return sample.tokens

"""Policies without a network, for tests and benchmarks; they do no task.

They have the spec of a checkpoint, so that a fleet for that checkpoint runs with them unchanged,
and need no torch.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from .base import Chunk, Observation, PolicySpec
from .checkpoint import CONFIG, Config, read_spec, replace_file
from .processing import check_observation


def write_spec(checkpoint: str | os.PathLike[str], spec: PolicySpec) -> None:
    """Make the directory `checkpoint` with a config.json of this spec, which is all that the
    policies of this module read of one. A service then has `policy: constant`."""
    directory = Path(checkpoint)
    directory.mkdir(parents=True, exist_ok=True)
    config = Config(kind="constant", spec=spec, network={})
    replace_file(directory / CONFIG, msgspec.json.encode(config))


class ConstantPolicy:
    """Every step of every chunk is the same action: the state of the action's name, so that a
    position-controlled arm holds its position, and `value` for actions without such a state.
    `delay_s` is the simulated duration of a batch."""

    def __init__(
        self, checkpoint: str | os.PathLike[str], *, value: float = 0.0, delay_s: float = 0.0
    ) -> None:
        self.spec: PolicySpec = read_spec(checkpoint)
        self.checkpoint_hash = _hash("constant", self.spec, value)
        self.value, self.delay_s = value, delay_s
        states = {name: i for i, name in enumerate(self.spec.state_names)}
        self._columns = [states.get(name) for name in self.spec.action_names]

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order. Raises ValueError for one that does not fit the
        spec."""
        for observation in batch:
            check_observation(self.spec, observation)
        if self.delay_s > 0:
            time.sleep(self.delay_s)
        return [self._chunk(o.state) for o in batch]

    def _chunk(self, state: NDArray[np.float32]) -> Chunk:
        action = [self.value if c is None else state[c] for c in self._columns]
        chunk = np.empty((self.spec.chunk_size, len(action)), np.float32)
        chunk[:] = action
        return Chunk(model=chunk, robot=chunk.copy())


class ShapeOnlyPolicy:
    """Chunks of noise, drawn from each observation's seed: cheap, and different for different
    requests, so that swapped replies are detected. The certain steps are those of the prefix.
    `delay_s` is the simulated duration of a batch."""

    def __init__(self, checkpoint: str | os.PathLike[str], *, delay_s: float = 0.0) -> None:
        self.spec: PolicySpec = read_spec(checkpoint)
        self.checkpoint_hash = _hash("shape-only", self.spec)
        self.delay_s = delay_s

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order. Raises ValueError for one that does not fit the
        spec."""
        for observation in batch:
            check_observation(self.spec, observation)
        if self.delay_s > 0:
            time.sleep(self.delay_s)
        return [self._chunk(o) for o in batch]

    def _chunk(self, observation: Observation) -> Chunk:
        shape = (self.spec.chunk_size, len(self.spec.action_names))
        chunk = np.random.default_rng(observation.seed).standard_normal(shape, np.float32)
        if observation.prefix is not None:
            sure = min(observation.delay_steps, len(observation.prefix), len(chunk))
            chunk[:sure] = observation.prefix[:sure]
        return Chunk(model=chunk, robot=chunk.copy())


def _hash(kind: str, spec: PolicySpec, *options: object) -> str:
    """The checkpoint hash: equal for two policies of a kind that predict the same."""
    return hashlib.sha256(f"{kind} {options} ".encode() + msgspec.json.encode(spec)).hexdigest()

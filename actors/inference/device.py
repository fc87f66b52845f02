"""One policy on one device: warmed up, timed, and fenced so that one bad observation fails alone.

`Device.predict` guarantees that what it returns as a chunk has the spec's shape and holds finite
numbers only, and that an observation that cannot be predicted costs no other one its chunk. It does
not bound how long the policy takes: the replica's owner watches its progress for that.

Only the thread that made it may use it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...policy.base import Chunk, ChunkPolicy, Observation
from .purity import Mode, serving_mode

FATAL_FAILURES = 3
"""Batches in a row of which nothing could be predicted, until the device itself is given up."""


class DeviceLost(Exception):
    """Nothing works any more (a wedged GPU, exhausted memory): only a new process may help."""


class Device:
    """`times[b]`: the usual duration of a batch of `b`, in seconds, kept current while serving."""

    def __init__(self, policy: ChunkPolicy) -> None:
        self.policy = policy
        self.spec = policy.spec
        self.times: dict[int, float] = {}
        self.mode: Mode = "exclusive"
        self.mode_reason = "not probed yet"
        self._failures = 0

    def warm_up(self, max_batch: int, on_call: Callable[[], None] = lambda: None) -> int:
        """Run everything that serving will run; return the largest batch that may be used.

        Each batch size is run plain, with a prefix where the policy takes one, and once more with
        the clock on; then the serving mode is decided (`mode`). `on_call` is called after every
        prediction.
        """
        mode, self.mode_reason = serving_mode(self.policy, max_batch > 1, on_call)
        self.mode = mode
        largest = 1 if mode == "exclusive" else max_batch
        for size in range(1, largest + 1):
            full = [self.spec.example(seed) for seed in range(size)]
            plain = [replace(o, prefix=None, prefix_robot=None, delay_steps=0) for o in full]
            for batch in (plain, full) if self.spec.prefix != "none" else (plain,):
                self.policy.predict_chunk(batch)
                on_call()
            started = time.perf_counter()
            self.policy.predict_chunk(full)
            self.times[size] = time.perf_counter() - started
            on_call()
        self.reset()
        return largest

    @property
    def execution(self) -> str:
        """How the policy says that it runs: for people, and empty where it says nothing."""
        return str(getattr(self.policy, "execution", ""))

    def reset(self) -> None:
        """Forget the episode before. Only a policy that remembers is asked to: it is served
        exclusively, and a shared one must have nothing to forget."""
        reset = getattr(self.policy, "reset", None)
        if self.mode == "exclusive" and callable(reset):
            reset()

    def predict(self, batch: Sequence[Observation]) -> tuple[list[Chunk | Exception], float]:
        """A chunk or the reason why there is none for each observation, in order, and the duration
        in seconds. Raises DeviceLost when whole batches keep failing for no fault of theirs."""
        started = time.perf_counter()
        results = self._together(batch)
        seconds = time.perf_counter() - started
        if all(isinstance(r, Exception) and not isinstance(r, ValueError) for r in results):
            self._failures += 1
            if self._failures >= FATAL_FAILURES:
                raise DeviceLost(
                    f"{self._failures} batches in a row failed entirely, the last with "
                    f"{results[0]!r}; the policy gets a new process"
                )
        else:
            self._failures = 0
        if not any(isinstance(r, Exception) for r in results):
            usual = self.times.get(len(batch), seconds)
            self.times[len(batch)] = usual + 0.1 * (seconds - usual)
        return results, seconds

    def _together(self, batch: Sequence[Observation]) -> list[Chunk | Exception]:
        try:
            chunks = self.policy.predict_chunk(batch)
            if len(chunks) != len(batch):
                raise RuntimeError(
                    f"the policy returned {len(chunks)} chunks for {len(batch)} observations"
                )
        except Exception as error:
            if len(batch) == 1:
                return [error]
            return [self._together([one])[0] for one in batch]
        return [self._fault(chunk) or chunk for chunk in chunks]

    def _fault(self, chunk: Chunk) -> Exception | None:
        shape = (self.spec.chunk_size, len(self.spec.action_names))
        for space, values in (("model", chunk.model), ("robot", chunk.robot)):
            if values.shape != shape or values.dtype != np.float32:
                return RuntimeError(
                    f"the policy returned {values.dtype}{list(values.shape)} in {space} space "
                    f"where its spec says float32{list(shape)}: its spec and its code disagree"
                )
            if not np.isfinite(values).all():
                return ArithmeticError(
                    f"the policy returned values that are not finite in {space} space: "
                    "look at the observation (actorctl replay) and at its normalization"
                )
        return None

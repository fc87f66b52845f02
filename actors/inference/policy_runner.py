"""One policy on one device: warmed up, timed, and isolated so that a bad observation fails alone.

`PolicyRunner.predict` guarantees that every chunk it returns has the spec's shape and holds finite
numbers only, and that an observation that fails costs no other one its chunk. Whether the device
failed or a request did is decided by a test: the example that worked at warm-up is run again, and
only if that fails too is the device lost. It does not bound how long the policy takes: the
supervisor watches the replica's progress for that.

Only the thread that made it may use it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ...errors import (
    DeviceLostError,
    PolicyBrokenError,
    PolicyError,
    UnfitPolicyError,
    WrongOutputError,
)
from ...policy.base import Chunk, ChunkPolicy, Observation
from ..runtime.user_code import blame
from .device_errors import free_memory, is_device_error
from .example import Examples
from .output import chunks_of, fault_of
from .statefulness_probe import Mode, serving_mode

DOUBTFUL_FAILURES = 3
"""Consecutive batches without a chunk before the warm-up's example is run again."""

Result = Chunk | Exception


class PolicyRunner:
    """`times[b]` is the usual duration of a batch of `b` in seconds, updated while serving; `mode`
    is `shared` or `exclusive`.

    `on_call` is called after every call of the policy, for liveness.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        examples: Examples | None = None,
        on_call: Callable[[], None] = lambda: None,
    ) -> None:
        self.policy = policy
        self.spec = policy.spec
        self.times: dict[int, float] = {}
        self.fastest: dict[int, float] = {}
        """The shortest duration of a batch of each size."""
        self.mode: Mode = "exclusive"
        self.mode_reason = "not probed yet"
        self.disturbed = False
        """An example was run since the last `reset`, so that a stateful policy needs one."""
        self._examples = examples or Examples(policy.spec)
        self._on_call = on_call
        self._failures = 0
        self._doubt_at = DOUBTFUL_FAILURES

    def warm_up(self, max_batch: int, probed: tuple[Mode, str] | None = None) -> int:
        """Decide the serving mode and run every batch size; return the largest that may be used.
        `probed` is the mode, and why, of a policy that was probed before.

        Each size is run without a prefix, with one where the policy takes one, and once more for
        its time. Raises UnfitPolicyError when the policy fails or contradicts its spec; a device's
        own error is raised as it is.
        """
        examples = self._examples
        self.mode, self.mode_reason = probed or serving_mode(
            self.policy, max_batch > 1, examples, self._try
        )
        largest = 1 if self.mode == "exclusive" else max_batch
        for size in range(1, largest + 1):
            full = [examples.full(seed) for seed in range(size)]
            self._try([examples.plain(seed) for seed in range(size)])
            if self.spec.prefix != "none":
                self._try(full)
            started_s = time.perf_counter()
            self._try(full)
            self.times[size] = self.fastest[size] = time.perf_counter() - started_s
        self.reset()
        return largest

    @property
    def execution(self) -> str:
        """The policy's own description of how it runs, for the status; empty where it has none."""
        return str(getattr(self.policy, "execution", ""))

    def reset(self) -> None:
        """Start a new episode. Only an exclusive policy is reset; a shared one has no state."""
        self.disturbed = False
        reset = getattr(self.policy, "reset", None)
        if self.mode == "exclusive" and callable(reset):
            reset()

    def predict(
        self, batch: Sequence[Observation], learn: bool = True
    ) -> tuple[list[Result], float]:
        """A chunk or an exception for each observation, in order, and the duration in seconds;
        `learn` updates `times`. Raises PolicyBrokenError when the warm-up's example fails too."""
        started_s = time.perf_counter()
        results = self._together(batch)
        broken = next((r for r in results if isinstance(r, Exception) and is_device_error(r)), None)
        if broken is not None:
            self._prove(f"a request failed with {blame(broken)}", on_device=True)
        elif any(isinstance(r, Chunk) for r in results):
            self._failures, self._doubt_at = 0, DOUBTFUL_FAILURES
        else:
            self._failures += 1
            if self._failures >= self._doubt_at:
                self._prove(f"{self._failures} batches in a row that failed", on_device=False)
                self._doubt_at *= 2  # each proof delays all robots by a batch
        seconds = time.perf_counter() - started_s
        if learn and not any(isinstance(r, Exception) for r in results):
            usual = self.times.get(len(batch), seconds)
            self.times[len(batch)] = usual + 0.1 * (seconds - usual)
            self.fastest[len(batch)] = min(self.fastest.get(len(batch), seconds), seconds)
        return results, seconds

    def _together(self, batch: Sequence[Observation]) -> list[Result]:
        """The batch's results; if the policy raises, those of each observation alone."""
        try:
            chunks = self._call(batch)
        except Exception as error:  # noqa: BLE001 a policy may raise anything
            if is_device_error(error):
                free_memory()
            elif len(batch) == 1:
                return [error]
            return [self._alone(one) for one in batch]
        return [_result(chunk, fault_of(chunk, self.spec)) for chunk in chunks]

    def _alone(self, observation: Observation) -> Result:
        try:
            [chunk] = self._call([observation])
        except Exception as error:  # noqa: BLE001 a policy may raise anything
            return error
        return _result(chunk, fault_of(chunk, self.spec))

    def _prove(self, suspicion: str, on_device: bool) -> None:
        """Run the warm-up's example. Raises PolicyBrokenError if it fails: DeviceLostError if it
        does so with a device's error, or if the request did (`on_device`)."""
        free_memory(thoroughly=True)
        self.disturbed = True
        result = self._alone(self._examples.plain(0))
        if isinstance(result, Exception):
            kind = DeviceLostError if on_device or is_device_error(result) else PolicyBrokenError
            raise kind(
                f"{blame(result)}, now also at the example that worked at warm-up, after "
                f"{suspicion}: the policy gets a new process"
            )

    def _call(self, batch: Sequence[Observation]) -> Sequence[object]:
        try:
            return chunks_of(self.policy.predict_chunk(batch), len(batch))
        except SystemExit as error:
            raise RuntimeError(f"the policy called sys.exit({error.code!r})") from error
        finally:
            self._on_call()

    def _try(self, batch: Sequence[Observation]) -> list[Chunk]:
        """The chunks of a batch of examples, all valid. Raises UnfitPolicyError."""
        try:
            chunks = self._call(batch)
        except (WrongOutputError, PolicyError) as error:
            raise UnfitPolicyError(str(error)) from error
        except Exception as error:
            if is_device_error(error) or isinstance(error, OSError):
                raise
            raise UnfitPolicyError(
                f"the policy failed with {blame(error)} at warm-up, given an example whose "
                f"task is {batch[0].task!r}: if it knows only certain tasks, give the service one "
                "of them (default_task, pin_task); if only certain observations, serve(..., "
                "example=Observation(...))"
            ) from error
        for fault in (fault_of(chunk, self.spec) for chunk in chunks):
            if fault is not None:
                raise UnfitPolicyError(str(fault))
        return [chunk for chunk in chunks if isinstance(chunk, Chunk)]


def _result(chunk: object, fault: WrongOutputError | None) -> Result:
    if fault is not None:
        return fault
    assert isinstance(chunk, Chunk), "a value that is no Chunk has a fault"
    return chunk

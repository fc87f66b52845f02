"""One policy on one device: warmed up, timed, and fenced so that one bad observation fails alone.

`PolicyRunner.predict` guarantees that what it returns as a chunk has the spec's shape and holds
finite numbers only, and that an observation that cannot be predicted costs no other one its chunk.
Whether the device failed or a request did is decided by evidence: what worked at warm-up is run
again, and only if that fails too is the device lost. It does not bound how long the policy takes:
the replica's owner watches its progress for that.

Only the thread that made it may use it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ...errors import DeviceLostError, UnfitPolicyError, WrongOutputError
from ...policy.base import Chunk, ChunkPolicy, Observation
from .device_errors import free_memory, is_device_error
from .example import Examples
from .output import chunks_of, fault_of
from .statefulness_probe import Mode, serving_mode

DOUBTFUL_FAILURES = 3
"""Batches in a row of which nothing could be predicted, until what worked at warm-up is tried."""

Result = Chunk | Exception


class PolicyRunner:
    """`times[b]`: the usual duration of a batch of `b`, in seconds, kept current while serving.

    `on_call` is called after every prediction, also of batches that are retried: a sign of life.
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
        self.mode: Mode = "exclusive"
        self.mode_reason = "not probed yet"
        self.disturbed = False
        """An example was run since the last `reset`: a policy that remembers must forget it."""
        self._examples = examples or Examples(policy.spec)
        self._on_call = on_call
        self._failures = 0
        self._doubt_at = DOUBTFUL_FAILURES

    def warm_up(self, max_batch: int) -> int:
        """Run everything that serving will run; return the largest batch that may be used.

        Each batch size is run plain, with a prefix where the policy takes one, and once more with
        the clock on; then the serving mode is decided (`mode`). Raises UnfitPolicyError when the
        policy fails, or returns what its spec does not say; a device's own error passes through.
        """
        examples = self._examples
        self.mode, self.mode_reason = serving_mode(
            self.policy, max_batch > 1, examples, self._tried
        )
        largest = 1 if self.mode == "exclusive" else max_batch
        for size in range(1, largest + 1):
            full = [examples.full(seed) for seed in range(size)]
            self._tried([examples.plain(seed) for seed in range(size)])
            if self.spec.prefix != "none":
                self._tried(full)
            started = time.perf_counter()
            self._tried(full)
            self.times[size] = time.perf_counter() - started
        self.reset()
        return largest

    @property
    def execution(self) -> str:
        """How the policy says that it runs: for people, and empty where it says nothing."""
        return str(getattr(self.policy, "execution", ""))

    def reset(self) -> None:
        """Forget the episode before. Only a policy that remembers is asked to: it is served
        exclusively, and a shared one must have nothing to forget."""
        self.disturbed = False
        reset = getattr(self.policy, "reset", None)
        if self.mode == "exclusive" and callable(reset):
            reset()

    def predict(
        self, batch: Sequence[Observation], learn: bool = True
    ) -> tuple[list[Result], float]:
        """A chunk or the reason why there is none for each observation, in order, and the duration
        in seconds; `times` follow it if `learn`. Raises DeviceLost when not even the warm-up's
        example works any more."""
        started = time.perf_counter()
        results = self._together(batch)
        broken = next((r for r in results if isinstance(r, Exception) and is_device_error(r)), None)
        if broken is not None:
            self._prove(f"the device failed with {_words(broken)}")
        elif any(isinstance(r, Chunk) for r in results):
            self._failures, self._doubt_at = 0, DOUBTFUL_FAILURES
        else:
            self._failures += 1
            if self._failures >= self._doubt_at:
                self._prove(
                    f"{self._failures} batches in a row failed, the last with {results[0]!r}"
                )
                self._doubt_at *= 2  # a proof costs everybody a batch
        seconds = time.perf_counter() - started
        if learn and not any(isinstance(r, Exception) for r in results):
            usual = self.times.get(len(batch), seconds)
            self.times[len(batch)] = usual + 0.1 * (seconds - usual)
        return results, seconds

    def _together(self, batch: Sequence[Observation]) -> list[Result]:
        """The batch's results; if the policy fails at it, those of each observation alone."""
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

    def _prove(self, suspicion: str) -> None:
        """Run what worked at warm-up. Raises DeviceLost if it does not work any more."""
        free_memory(thoroughly=True)
        self.disturbed = True
        result = self._alone(self._examples.plain(0))
        if isinstance(result, Exception):
            raise DeviceLostError(
                f"{suspicion}, and the example that worked at warm-up fails now with "
                f"{_words(result)}: the policy gets a new process"
            )

    def _call(self, batch: Sequence[Observation]) -> Sequence[object]:
        try:
            return chunks_of(self.policy.predict_chunk(batch), len(batch))
        except SystemExit as error:
            raise RuntimeError(f"the policy called sys.exit({error.code!r})") from error
        finally:
            self._on_call()

    def _tried(self, batch: Sequence[Observation]) -> list[Chunk]:
        """The chunks of a batch of examples, all of them fit."""
        try:
            chunks = self._call(batch)
        except WrongOutputError as error:
            raise UnfitPolicyError(str(error)) from error
        except Exception as error:
            if is_device_error(error) or isinstance(error, OSError):
                raise
            raise UnfitPolicyError(
                f"the policy failed with {_words(error)} at warm-up, given an example whose task "
                f"is {batch[0].task!r}: if it knows only certain tasks, give the service one of "
                "them (default_task, pin_task); if only certain observations, serve(..., "
                "example=Observation(...))"
            ) from error
        for fault in (fault_of(chunk, self.spec) for chunk in chunks):
            if fault is not None:
                raise UnfitPolicyError(str(fault))
        return [chunk for chunk in chunks if isinstance(chunk, Chunk)]


def _result(chunk: object, fault: WrongOutputError | None) -> Result:
    if fault is not None:
        return fault
    assert isinstance(chunk, Chunk), "what is no Chunk has a fault"
    return chunk


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

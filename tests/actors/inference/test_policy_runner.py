"""A policy on its device: what it may cost others, and what it may not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from holdfast.actors.inference.device_errors import is_device_error
from holdfast.actors.inference.example import Examples
from holdfast.actors.inference.policy_runner import DOUBTFUL_FAILURES, PolicyRunner
from holdfast.errors import DeviceLostError, UnfitPolicyError, WrongOutputError
from holdfast.policy.base import Chunk, Observation, PolicySpec

SPEC = PolicySpec(
    model="toy",
    revision="1",
    cameras=(),
    state_names=("x",),
    action_names=("x", "y"),
    chunk_size=3,
    fps=30,
    prefix="guided",
    max_prefix_steps=2,
)


class Toy:
    """Remembers how it was called; answers with `answer(observation)`."""

    checkpoint_hash = "0"

    def __init__(self, answer: Callable[[Observation], Chunk] | None = None) -> None:
        self.spec = SPEC
        self.answer = answer or self.plain
        self.seen: list[tuple[int, bool]] = []
        self.resets = 0

    @staticmethod
    def plain(obs: Observation) -> Chunk:
        values = np.full((3, 2), obs.state[0], np.float32)
        return Chunk(values, values)

    def reset(self) -> None:
        self.resets += 1

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        self.seen.append((len(batch), batch[0].prefix is not None))
        return [self.answer(obs) for obs in batch]


def observation(x: float) -> Observation:
    return Observation(state=np.array([x], np.float32), images={})


def test_warm_up_runs_every_batch_size_with_and_without_a_prefix() -> None:
    policy = Toy()
    device = PolicyRunner(policy)
    assert device.warm_up(max_batch=3) == 3
    assert {(size, prefix) for size in (1, 2, 3) for prefix in (True, False)} <= set(policy.seen)
    assert set(device.times) == {1, 2, 3}
    assert device.mode == "shared"


def test_a_policy_that_remembers_is_warmed_for_one_robot_and_starts_fresh() -> None:
    policy = Toy()
    policy.spec = msgspec.structs.replace(SPEC, stateful=True)
    device = PolicyRunner(policy)
    assert device.warm_up(max_batch=4) == 1
    assert policy.resets == 1
    device.reset()
    assert policy.resets == 2


def test_a_shared_policy_is_never_reset() -> None:
    policy = Toy()
    device = PolicyRunner(policy)
    device.warm_up(max_batch=1)
    device.reset()
    assert policy.resets == 0


def test_one_bad_observation_fails_alone() -> None:
    def answer(obs: Observation) -> Chunk:
        if obs.state[0] < 0:
            raise ValueError("state is negative")
        return Toy.plain(obs)

    results, _ = PolicyRunner(Toy(answer)).predict(
        [observation(1), observation(-1), observation(2)]
    )
    assert isinstance(results[1], ValueError)
    good = [r for r in results if isinstance(r, Chunk)]
    assert [c.robot[0, 0] for c in good] == [1, 2]


def returned(**changes: object) -> Chunk:
    fine = {"model": np.zeros((3, 2), np.float32), "robot": np.zeros((3, 2), np.float32)}
    return Chunk(**{**fine, **changes})  # type: ignore[arg-type]


WRONG = [
    (lambda n: None, "returned None"),
    (lambda n: (returned() for _ in range(n)), "a generator"),
    (lambda n: returned(), "a Chunk: "),
    (lambda n: {"model": 1}, "a dict"),
    (lambda n: np.zeros((n, 3, 2), np.float32), "an array float32"),
    (lambda n: torch.zeros(n, 3, 2), "a torch tensor float32"),
    (lambda n: [returned()] * (n + 1), "2 chunks for 1 observations"),
    (lambda n: [np.zeros((3, 2), np.float32)] * n, "a list of an array float32[3, 2]"),
    (lambda n: [torch.zeros(3, 2)] * n, "a list of a torch tensor"),
    (lambda n: [None] * n, "a list of None"),
    (lambda n: [returned(robot=torch.zeros(3, 2))] * n, "`robot` is a torch tensor"),
    (lambda n: [returned(model=np.zeros((3, 2)))] * n, "`model` is an array float64[3, 2]"),
    (lambda n: [returned(robot=np.zeros((3, 32), np.float32))] * n, "32 columns"),
    (lambda n: [returned(robot=np.zeros((2, 2), np.float32))] * n, "2 steps"),
    (lambda n: [returned(robot=np.zeros((1, 3, 2), np.float32))] * n, "without a batch axis"),
    (lambda n: [returned(robot=np.zeros(6, np.float32))] * n, "float32[6]"),
    (lambda n: [returned(model=np.full((3, 2), np.nan, np.float32))] * n, "not finite in 6 of 6"),
    (lambda n: [returned(robot=[[0.0, 0.0]] * 3)] * n, "`robot` is a list"),
]


@pytest.mark.parametrize(("answer", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_the_spec_does_not_say_is_refused_at_warm_up_and_an_error_afterwards(
    answer: Callable[[int], Any], words: str
) -> None:
    """In the policy's own words; and whatever it returns, the replica goes on."""
    policy = Toy()
    device = PolicyRunner(policy)
    device.warm_up(max_batch=1)
    policy.predict_chunk = lambda batch: answer(len(batch))
    [result], _ = device.predict([observation(0)])
    assert isinstance(result, WrongOutputError) and words in str(result)
    with pytest.raises(UnfitPolicyError, match=re.escape(words)):
        PolicyRunner(policy).warm_up(max_batch=1)


@pytest.mark.parametrize("call", range(12))
def test_every_call_of_the_warm_up_is_looked_at(call: int) -> None:
    """A policy that errs once, whenever, does not come through."""
    policy, calls = Toy(), iter(range(1000))
    right = policy.predict_chunk

    def erring(batch: Sequence[Observation]) -> list[Chunk]:
        return [] if next(calls) == call else right(batch)

    policy.predict_chunk = erring
    with pytest.raises(UnfitPolicyError, match="0 chunks"):
        PolicyRunner(policy).warm_up(max_batch=2)


def test_a_policy_that_fails_at_warm_up_is_told_how_to_be_given_its_own_example() -> None:
    def answer(obs: Observation) -> Chunk:
        return {"pick": Toy.plain(obs)}[obs.task]

    with pytest.raises(UnfitPolicyError, match=r"KeyError: ''.*default_task.*example="):
        PolicyRunner(Toy(answer)).warm_up(max_batch=1)
    assert PolicyRunner(Toy(answer), Examples(SPEC, "pick")).warm_up(max_batch=1) == 1


def test_a_given_example_is_varied_only_a_little() -> None:
    """A policy that accepts nothing but its own kind of observation can be warmed up."""
    given = Observation(state=np.array([500.0], np.float32), images={}, task="pick")

    def answer(obs: Observation) -> Chunk:
        assert abs(obs.state[0] - 500) < 1 and obs.task == "pick"
        return Toy.plain(obs)

    policy = Toy(answer)
    PolicyRunner(policy, Examples(SPEC, given=given)).warm_up(max_batch=2)
    assert {prefix for _, prefix in policy.seen} == {True, False}
    with pytest.raises(ValueError, match=r"example observation.*state must be float32 \[1\]"):
        Examples(SPEC, given=Observation(state=np.zeros(2, np.float32), images={}))


class Broken(Toy):
    """Raises `error` for negative states; and for all, once `lost`."""

    def __init__(self, error: BaseException, sticky: bool) -> None:
        super().__init__(self.fail)
        self.error, self.sticky, self.lost = error, sticky, False

    def fail(self, obs: Observation) -> Chunk:
        if obs.state[0] < -100 or self.lost:
            self.lost = self.sticky
            raise self.error
        return self.plain(obs)


DEVICE_ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]
REQUEST_ERRORS = [
    KeyError("pick up the cup"),
    AssertionError("prompt"),
    ValueError("state is out of range: CUDA error"),
    IndexError("index out of range in self"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ZeroDivisionError("division by zero"),
    RecursionError("maximum recursion depth exceeded"),
    StopIteration(),
    SystemExit(3),
]


@pytest.mark.parametrize("error", DEVICE_ERRORS, ids=repr)
def test_a_device_that_is_lost_is_given_up_at_once(error: Exception) -> None:
    assert is_device_error(error)
    device = PolicyRunner(Broken(error, sticky=True))
    device.warm_up(max_batch=2)
    with pytest.raises(DeviceLostError, match="new process"):
        device.predict([observation(1), observation(-200)])


@pytest.mark.parametrize("error", DEVICE_ERRORS + REQUEST_ERRORS, ids=repr)
def test_a_request_that_fails_fails_alone_however_often(error: BaseException) -> None:
    """Also with a device's error, when the device works on: memory runs out for an absurd request,
    too."""
    device = PolicyRunner(Broken(error, sticky=False))
    device.warm_up(max_batch=2)
    for _ in range(2 * DOUBTFUL_FAILURES):
        [bad], _ = device.predict([observation(-200)])
        assert isinstance(bad, Exception)
    good, bad = device.predict([observation(1), observation(-200)])[0]
    assert isinstance(good, Chunk) and isinstance(bad, Exception)


@pytest.mark.parametrize("error", REQUEST_ERRORS, ids=repr)
def test_an_error_of_a_request_is_not_taken_for_the_devices(error: BaseException) -> None:
    assert not is_device_error(error)


def test_an_error_that_was_raised_from_the_devices_is_the_devices() -> None:
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        except RuntimeError as error:
            raise TypeError("inference failed") from error
    except TypeError as error:
        assert is_device_error(error)


def test_a_policy_that_fails_at_everything_since_its_warm_up_gets_a_new_process() -> None:
    """Whatever it raises: what is wrong is then no request's fault."""
    policy = Toy()
    device = PolicyRunner(policy)
    device.warm_up(max_batch=1)

    def wedged(batch: Sequence[Observation]) -> list[Chunk]:
        raise ConnectionError("the policy server is gone")

    policy.predict_chunk = wedged
    for _ in range(DOUBTFUL_FAILURES - 1):
        device.predict([observation(1)])
    with pytest.raises(DeviceLostError, match="policy server is gone"):
        device.predict([observation(1)])


def test_bad_requests_cost_fewer_and_fewer_proofs_that_the_device_works() -> None:
    policy = Broken(KeyError("x"), sticky=False)
    device = PolicyRunner(policy)
    device.warm_up(max_batch=1)
    policy.seen.clear()
    for _ in range(1000):
        device.predict([observation(-200)])
    assert len(policy.seen) < 1020


def test_service_times_follow_what_is_measured() -> None:
    device = PolicyRunner(Toy())
    device.times[1] = 100.0
    for _ in range(100):
        device.predict([observation(0)])
    assert device.times[1] < 1.0

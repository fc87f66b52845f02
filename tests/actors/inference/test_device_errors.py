"""Requests that fail, and devices that are lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from holdfast.actors.inference.device_errors import is_device_error
from holdfast.actors.inference.policy_runner import DOUBTFUL_FAILURES, PolicyRunner
from holdfast.errors import (
    DeviceLostError,
    PolicyBrokenError,
)
from holdfast.policy.base import Chunk, Observation
from holdfast.tests.actors.inference.toy_policy import Toy, observation


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


DEVICE_ERRORS: list[Exception] = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]
REQUEST_ERRORS: list[BaseException] = [
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
def test_a_device_error_that_persists_is_a_lost_device(error: Exception) -> None:
    """The first batch raises DeviceLostError when the warm-up's example fails too."""
    assert is_device_error(error)
    device = PolicyRunner(Broken(error, sticky=True))
    device.warm_up(max_batch=2)
    with pytest.raises(DeviceLostError, match="new process"):
        device.predict([observation(1), observation(-200)])


@pytest.mark.parametrize("error", [*DEVICE_ERRORS, *REQUEST_ERRORS], ids=repr)
def test_a_request_that_fails_repeatedly_fails_alone(error: BaseException) -> None:
    """Also with a device's error, if the device works for other requests."""
    device = PolicyRunner(Broken(error, sticky=False))
    device.warm_up(max_batch=2)
    for _ in range(2 * DOUBTFUL_FAILURES):
        [bad], _ = device.predict([observation(-200)])
        assert isinstance(bad, Exception)
    good, bad = device.predict([observation(1), observation(-200)])[0]
    assert isinstance(good, Chunk) and isinstance(bad, Exception)


@pytest.mark.parametrize("error", REQUEST_ERRORS, ids=repr)
def test_an_error_of_a_request_is_no_device_error(error: BaseException) -> None:
    """Exceptions of policies are not classified as the device's."""
    assert not is_device_error(error)


def test_an_error_raised_from_a_device_error_is_a_device_error() -> None:
    """The chain of causes is searched."""
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        except RuntimeError as error:
            raise TypeError("inference failed") from error
    except TypeError as error:
        assert is_device_error(error)


def test_a_policy_that_fails_at_every_request_is_broken() -> None:
    """After some failed batches the warm-up's example is run; if it fails, PolicyBrokenError."""
    policy = Toy()
    device = PolicyRunner(policy)
    device.warm_up(max_batch=1)

    def wedged(batch: Sequence[Observation]) -> list[Chunk]:
        raise ConnectionError("the policy server is gone")

    policy.returns = wedged
    for _ in range(DOUBTFUL_FAILURES - 1):
        device.predict([observation(1)])
    with pytest.raises(PolicyBrokenError, match="policy server is gone") as broken:
        device.predict([observation(1)])
    assert not isinstance(broken.value, DeviceLostError)


def test_failing_requests_cause_ever_fewer_proofs_of_the_device() -> None:
    """The number of failed batches between proofs doubles."""
    policy = Broken(KeyError("x"), sticky=False)
    device = PolicyRunner(policy)
    device.warm_up(max_batch=1)
    policy.seen.clear()
    for _ in range(1000):
        device.predict([observation(-200)])
    assert len(policy.seen) < 1020

"""A policy on its device: its warm-up, and what it may return."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from holdfast.actors.inference.example import Examples
from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.errors import (
    PolicyError,
    UnfitPolicyError,
    WrongOutputError,
)
from holdfast.policy.base import Chunk, Observation
from holdfast.tests.actors.inference.toy_policy import SPEC, Toy, observation


def test_the_warm_up_runs_every_batch_size_with_and_without_a_prefix() -> None:
    """Each size up to the largest has a measured time."""
    policy = Toy()
    device = PolicyRunner(policy)
    assert device.warm_up(max_batch=3) == 3
    assert {(size, prefix) for size in (1, 2, 3) for prefix in (True, False)} <= set(policy.seen)
    assert set(device.times) == {1, 2, 3}
    assert device.mode == "shared"


def test_a_policy_that_was_probed_before_is_only_warmed_up() -> None:
    """Its mode is the one that was found, and each batch size has run as often as ever."""
    policy = Toy()
    device = PolicyRunner(policy)
    assert device.warm_up(3, probed=("shared", "found before")) == 3
    assert [size for size, _ in policy.seen] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert (device.mode, device.mode_reason) == ("shared", "found before")
    assert PolicyRunner(Toy()).warm_up(3, probed=("exclusive", "it remembers")) == 1


def test_a_stateful_policy_is_warmed_up_for_batches_of_one_and_reset() -> None:
    """The largest batch is one, and the warm-up ends with a reset."""
    policy = Toy()
    policy.spec = msgspec.structs.replace(SPEC, stateful=True)
    device = PolicyRunner(policy)
    assert device.warm_up(max_batch=4) == 1
    assert policy.resets == 1
    device.reset()
    assert policy.resets == 2


def test_a_shared_policy_is_never_reset() -> None:
    """Neither the warm-up nor `reset` calls the policy's reset."""
    policy = Toy()
    device = PolicyRunner(policy)
    device.warm_up(max_batch=1)
    device.reset()
    assert policy.resets == 0


def test_a_bad_observation_fails_alone() -> None:
    """The other observations of its batch get their chunks."""

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
    """A valid chunk with other values in its fields, of any type."""
    values = np.zeros((3, 2), np.float32)
    fields: dict[str, Any] = {"model": values, "robot": values, **changes}
    return Chunk(**fields)


WRONG: list[tuple[Callable[[int], Any], str]] = [
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


@pytest.mark.parametrize(("answer", "says"), WRONG, ids=[says for _, says in WRONG])
def test_a_return_value_that_contradicts_the_spec_is_refused(
    answer: Callable[[int], Any], says: str
) -> None:
    """At warm-up it raises UnfitPolicyError, later it is its request's error."""
    policy = Toy()
    device = PolicyRunner(policy)
    device.warm_up(max_batch=1)
    policy.returns = lambda batch: answer(len(batch))
    [result], _ = device.predict([observation(0)])
    assert isinstance(result, WrongOutputError) and says in str(result)
    with pytest.raises(UnfitPolicyError, match=re.escape(says)):
        PolicyRunner(policy).warm_up(max_batch=1)


@pytest.mark.parametrize("call", range(12))
def test_every_call_of_the_warm_up_is_checked(call: int) -> None:
    """A policy that errs in any one call is refused."""
    policy, calls = Toy(), iter(range(1000))

    def erring(batch: Sequence[Observation]) -> list[Chunk]:
        return [] if next(calls) == call else [policy.answer(obs) for obs in batch]

    policy.returns = erring
    with pytest.raises(UnfitPolicyError, match="0 chunks"):
        PolicyRunner(policy).warm_up(max_batch=2)


def test_a_failure_at_warm_up_names_the_ways_to_give_an_example() -> None:
    """The error names default_task and example=, and a task that the policy knows suffices."""

    def answer(obs: Observation) -> Chunk:
        return {"pick": Toy.plain(obs)}[obs.task]

    with pytest.raises(UnfitPolicyError, match=r"KeyError: ''.*default_task.*example="):
        PolicyRunner(Toy(answer)).warm_up(max_batch=1)
    assert PolicyRunner(Toy(answer), Examples(SPEC, "pick")).warm_up(max_batch=1) == 1


def test_a_policy_that_says_at_warm_up_why_it_cannot_be_used_is_quoted() -> None:
    """Nothing is added to what it says."""

    def answer(obs: Observation) -> Chunk:
        raise PolicyError("no compiler: write `compile: auto`")

    with pytest.raises(UnfitPolicyError, match=r"^no compiler: write `compile: auto`$"):
        PolicyRunner(Toy(answer)).warm_up(max_batch=1)


def test_a_given_example_is_varied_only_a_little() -> None:
    """A policy that accepts only observations near its example can be warmed up."""
    given = Observation(state=np.array([500.0], np.float32), images={}, task="pick")

    def answer(obs: Observation) -> Chunk:
        assert abs(obs.state[0] - 500) < 1 and obs.task == "pick"
        return Toy.plain(obs)

    policy = Toy(answer)
    PolicyRunner(policy, Examples(SPEC, given=given)).warm_up(max_batch=2)
    assert {prefix for _, prefix in policy.seen} == {True, False}
    with pytest.raises(ValueError, match=r"example observation.*state must be float32 \[1\]"):
        Examples(SPEC, given=Observation(state=np.zeros(2, np.float32), images={}))


def test_service_times_follow_the_measured_durations() -> None:
    """`times` converges to the duration of recent batches."""
    device = PolicyRunner(Toy())
    device.times[1] = 100.0
    for _ in range(100):
        device.predict([observation(0)])
    assert device.times[1] < 1.0

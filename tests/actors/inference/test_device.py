"""A policy on its device: what it may cost others, and what it may not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest

from holdfast.actors.inference.device import FATAL_FAILURES, Device, DeviceLost
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
    device = Device(policy)
    assert device.warm_up(max_batch=3) == 3
    assert {(size, prefix) for size in (1, 2, 3) for prefix in (True, False)} <= set(policy.seen)
    assert set(device.times) == {1, 2, 3}
    assert device.mode == "shared"


def test_a_policy_that_remembers_is_warmed_for_one_robot_and_starts_fresh() -> None:
    policy = Toy()
    policy.spec = msgspec.structs.replace(SPEC, stateful=True)
    device = Device(policy)
    assert device.warm_up(max_batch=4) == 1
    assert policy.resets == 1
    device.reset()
    assert policy.resets == 2


def test_a_shared_policy_is_never_reset() -> None:
    policy = Toy()
    device = Device(policy)
    device.warm_up(max_batch=1)
    device.reset()
    assert policy.resets == 0


def test_one_bad_observation_fails_alone() -> None:
    def answer(obs: Observation) -> Chunk:
        if obs.state[0] < 0:
            raise ValueError("state is negative")
        return Toy.plain(obs)

    results, _ = Device(Toy(answer)).predict([observation(1), observation(-1), observation(2)])
    assert isinstance(results[1], ValueError)
    good = [r for r in results if isinstance(r, Chunk)]
    assert [c.robot[0, 0] for c in good] == [1, 2]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.full((3, 2), np.nan, np.float32), "finite"),
        (np.zeros((2, 2), np.float32), "spec"),
        (np.zeros((3, 2), np.float64), "float32"),
    ],
)
def test_a_chunk_that_no_robot_should_get_becomes_an_error(values: np.ndarray, word: str) -> None:
    fine = np.zeros((3, 2), np.float32)
    for chunk in (Chunk(values, fine), Chunk(fine, values)):
        [result], _ = Device(Toy(lambda obs, c=chunk: c)).predict([observation(0)])
        assert isinstance(result, Exception) and word in str(result)


def test_a_device_on_which_nothing_works_any_more_is_given_up() -> None:
    def answer(obs: Observation) -> Chunk:
        if obs.state[0] < 0:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return Toy.plain(obs)

    device = Device(Toy(answer))
    for _ in range(FATAL_FAILURES - 1):
        device.predict([observation(-1), observation(-1)])
    device.predict([observation(1)])
    for _ in range(FATAL_FAILURES - 1):
        device.predict([observation(-1)])
    with pytest.raises(DeviceLost, match="unspecified launch failure"):
        device.predict([observation(-1)])


def test_bad_requests_alone_never_cost_the_device() -> None:
    def answer(obs: Observation) -> Chunk:
        raise ValueError("state must be float32 [1]")

    device = Device(Toy(answer))
    for _ in range(3 * FATAL_FAILURES):
        [result], _ = device.predict([observation(0)])
        assert isinstance(result, ValueError)


def test_service_times_follow_what_is_measured() -> None:
    device = Device(Toy())
    device.times[1] = 100.0
    for _ in range(100):
        device.predict([observation(0)])
    assert device.times[1] < 1.0

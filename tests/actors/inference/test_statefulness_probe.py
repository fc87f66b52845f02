"""Which policies may be shared between robots."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from holdfast.actors.inference.randomness import repeatable
from holdfast.actors.inference.statefulness_probe import serving_mode
from holdfast.policy.base import CameraFeature, Chunk, Observation, PolicySpec

SPEC = PolicySpec(
    model="probe",
    revision="1",
    cameras=(CameraFeature("overhead", 8, 6),),
    state_names=("x", "y"),
    action_names=("x", "y"),
    chunk_size=4,
    fps=30,
)


class Relative:
    """Actions relative to the request's own state: pure, and different for different robots."""

    checkpoint_hash = "0"

    def __init__(self, stateful: bool = False) -> None:
        self.spec = msgspec.structs.replace(SPEC, stateful=stateful)
        self.calls = 0

    def anchor(self, batch: Sequence[Observation], i: int) -> np.ndarray:
        return batch[i].state

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        self.calls += 1
        chunks = []
        for i, obs in enumerate(batch):
            noise = np.random.default_rng(obs.seed).standard_normal((4, 2), dtype=np.float32)
            chunks.append(Chunk(model=noise, robot=noise + self.anchor(batch, i)))
        return chunks


class AnchoredOnTheCallBefore(Relative):
    """Impure: the postprocessor uses the state that the preprocessor saw in the previous call."""

    last = np.zeros(2, np.float32)

    def anchor(self, batch: Sequence[Observation], i: int) -> np.ndarray:
        anchor, self.last = self.last, batch[i].state
        return anchor


class AnchoredOnTheFirstOfTheBatch(Relative):
    """Pure between calls, but the samples of a batch mix."""

    def anchor(self, batch: Sequence[Observation], i: int) -> np.ndarray:
        return batch[-1].state


def test_a_pure_policy_is_shared() -> None:
    assert serving_mode(Relative(), batched=True)[0] == "shared"


def test_a_policy_that_says_it_remembers_is_exclusive_without_being_probed() -> None:
    policy = Relative(stateful=True)
    assert serving_mode(policy, batched=True)[0] == "exclusive"
    assert policy.calls == 0


def test_a_policy_whose_relative_actions_cross_sessions_is_demoted() -> None:
    """Two sessions with different joint states: one would move relative to the other's arm."""
    mode, reason = serving_mode(AnchoredOnTheCallBefore(), batched=False)
    assert mode == "exclusive"
    assert "interleaved" in reason


@pytest.mark.parametrize(("batched", "expected"), [(True, "exclusive"), (False, "shared")])
def test_a_policy_that_mixes_samples_is_demoted_where_batches_are_used(
    batched: bool, expected: str
) -> None:
    assert serving_mode(AnchoredOnTheFirstOfTheBatch(), batched)[0] == expected


def test_every_call_of_the_probe_is_made_as_it_is_told_to() -> None:
    policy = Relative()
    calls = 0

    def counted(batch: Sequence[Observation]) -> list[Chunk]:
        nonlocal calls
        calls += 1
        return policy.predict_chunk(batch)

    serving_mode(policy, batched=True, predict=counted)
    assert calls == policy.calls > 0


HELD = np.random.default_rng(7)


class Random(Relative):
    """Draws without using the seed, from where `draw` says; remembers if it `remembers`."""

    def __init__(self, draw: Callable[[], np.ndarray], remembers: bool) -> None:
        super().__init__()
        self.draw, self.remembers, self.last = draw, remembers, np.zeros(2, np.float32)

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        chunks = []
        for obs in batch:
            noise = np.asarray(self.draw(), np.float32) + (self.last if self.remembers else 0)
            chunks.append(Chunk(model=noise, robot=noise + obs.state))
            self.last = obs.state
        return chunks


OWN, GENERATOR, PYTHON = np.random.RandomState(3), torch.Generator(), random.Random(5)
SOURCES: dict[str, Callable[[], Any]] = {
    "numpy's global": lambda: np.random.standard_normal((4, 2)),
    "one of a module": lambda: HELD.standard_normal((4, 2)),
    "an old numpy one": lambda: OWN.standard_normal((4, 2)),
    "a new one each time": lambda: np.random.default_rng().standard_normal((4, 2)),
    "Python's global": lambda: [[random.gauss(0, 1)] * 2] * 4,
    "one of Python's": lambda: [[PYTHON.gauss(0, 1)] * 2] * 4,
    "torch's global": lambda: torch.randn(4, 2).numpy(),
    "one of torch's": lambda: torch.randn(4, 2, generator=GENERATOR).numpy(),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("batched", [False, True])
def test_a_random_policy_is_shared_and_called_not_deterministic(source: str, batched: bool) -> None:
    mode, how = serving_mode(Random(SOURCES[source], remembers=False), batched)
    assert mode == "shared", how
    assert "not deterministic" in how


@pytest.mark.parametrize("source", SOURCES)
def test_a_random_policy_that_remembers_is_told_apart(source: str) -> None:
    mode, how = serving_mode(Random(SOURCES[source], remembers=True), batched=False)
    assert mode == "exclusive"
    assert "remembers" in how


def test_the_probe_leaves_the_random_generators_where_they_were() -> None:
    """Or a script that serves would go on with other numbers than without."""
    policy = Random(SOURCES["one of a module"], remembers=False)
    with repeatable(policy) as put_back:
        first = [np.random.random(), random.random(), HELD.random(), np.random.default_rng()]
        put_back()
        second = [np.random.random(), random.random(), HELD.random(), np.random.default_rng()]
    assert first[:3] == second[:3]
    assert first[3].random() == second[3].random()
    assert np.random.default_rng().random() != np.random.default_rng().random()
    assert HELD.random() == first[2]

"""The probe that decides which policies robots may share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

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
    """Actions relative to the request's own state: stateless, different for different robots."""

    checkpoint_hash = "0"

    def __init__(self, stateful: bool = False) -> None:
        self.spec = msgspec.structs.replace(SPEC, stateful=stateful)
        self.calls = 0

    def anchor(self, batch: Sequence[Observation], i: int) -> NDArray[np.float32]:
        return batch[i].state

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        self.calls += 1
        chunks = []
        for i, obs in enumerate(batch):
            noise = np.random.default_rng(obs.seed).standard_normal((4, 2), dtype=np.float32)
            chunks.append(Chunk(model=noise, robot=noise + self.anchor(batch, i)))
        return chunks


class AnchoredOnTheCallBefore(Relative):
    """Stateful: the chunk is relative to the state of the previous call."""

    last = np.zeros(2, np.float32)

    def anchor(self, batch: Sequence[Observation], i: int) -> NDArray[np.float32]:
        anchor, self.last = self.last, batch[i].state
        return anchor


class AnchoredOnTheCallBeforeOfItsSession(Relative):
    """Keeps something, but by session, as a processor of its own for each does."""

    def anchor(self, batch: Sequence[Observation], i: int) -> NDArray[np.float32]:
        if not hasattr(self, "kept"):
            self.kept: dict[str, NDArray[np.float32]] = {}
        one = batch[i]
        anchor = self.kept.get(one.session, np.zeros(2, np.float32))
        self.kept[one.session] = one.state
        return anchor


class AnchoredOnTheFirstOfTheBatch(Relative):
    """Stateless between calls, but the samples of a batch mix."""

    def anchor(self, batch: Sequence[Observation], i: int) -> NDArray[np.float32]:
        return batch[-1].state


def test_a_stateless_policy_is_shared() -> None:
    """Different states of two sessions do not make it exclusive."""
    assert serving_mode(Relative(), batched=True)[0] == "shared"


def test_a_policy_that_declares_state_is_exclusive_without_a_probe() -> None:
    """The policy is not called."""
    policy = Relative(stateful=True)
    assert serving_mode(policy, batched=True)[0] == "exclusive"
    assert policy.calls == 0


def test_a_policy_whose_relative_actions_mix_sessions_is_exclusive() -> None:
    """A chunk relative to another session's state is detected."""
    mode, reason = serving_mode(AnchoredOnTheCallBefore(), batched=False)
    assert mode == "exclusive"
    assert "interleaved" in reason


@pytest.mark.parametrize("batched", [False, True])
def test_a_policy_that_keeps_state_by_session_is_shared(batched: bool) -> None:
    """Each run of the probe is a session of its own."""
    assert serving_mode(AnchoredOnTheCallBeforeOfItsSession(), batched=batched)[0] == "shared"


@pytest.mark.parametrize(("batched", "expected"), [(True, "exclusive"), (False, "shared")])
def test_a_policy_that_mixes_samples_is_exclusive_where_batches_are_used(
    batched: bool, expected: str
) -> None:
    """Without batches it is shared."""
    assert serving_mode(AnchoredOnTheFirstOfTheBatch(), batched)[0] == expected


class PaddedToTheLongest(Relative):
    """A neighbour's text, as long as its seed says, may change the rounding of the whole batch."""

    def __init__(self, longer: frozenset[int], by: float) -> None:
        super().__init__()
        self.longer, self.by = longer, by

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        factor = np.float32(1 + self.by * any(o.seed in self.longer for o in batch))
        return [Chunk(c.model * factor, c.robot * factor) for c in super().predict_chunk(batch)]


SOME = [{1000}, {1001}, {1002}, {1000, 1001}, {1000, 1002}, {1001, 1002}]


@pytest.mark.parametrize("longer", SOME, ids=str)
def test_a_neighbour_that_changes_the_rounding_alone_does_not_mix(longer: set[int]) -> None:
    """Whichever neighbour has the longer text; what changes by more than rounding mixes."""
    assert serving_mode(PaddedToTheLongest(frozenset(longer), 1e-6), batched=True)[0] == "shared"
    assert serving_mode(PaddedToTheLongest(frozenset(longer), 4e-3), batched=True)[0] == "shared"
    mode, _ = serving_mode(PaddedToTheLongest(frozenset(longer), 0.1), batched=True)
    one_differs = len(longer & {1000, 1001}) == 1
    assert mode == ("exclusive" if one_differs else "shared")


class LeakingAThousandth(Relative):
    """Mixes by less than rounding changes."""

    def anchor(self, batch: Sequence[Observation], i: int) -> NDArray[np.float32]:
        return batch[i].state + np.float32(1e-3) * batch[-1].state


def test_samples_that_mix_by_less_than_rounding_are_found() -> None:
    """Each neighbour gives another chunk."""
    mode, reason = serving_mode(LeakingAThousandth(), batched=True)
    assert mode == "exclusive" and "samples mix" in reason


def test_the_probe_makes_every_call_through_the_given_function() -> None:
    """`predict` replaces each call of predict_chunk."""
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
    """Draws by `draw` without using the seed; keeps the last state if it `remembers`."""

    def __init__(self, draw: Callable[[], NDArray[np.float32]], remembers: bool) -> None:
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
    """The source of randomness is restored before each call, and the reason says so."""
    mode, how = serving_mode(Random(SOURCES[source], remembers=False), batched)
    assert mode == "shared", how
    assert "not deterministic" in how


@pytest.mark.parametrize("source", SOURCES)
def test_a_random_policy_with_state_is_exclusive(source: str) -> None:
    """Restored randomness does not hide the state."""
    mode, how = serving_mode(Random(SOURCES[source], remembers=True), batched=False)
    assert mode == "exclusive"
    assert "remembers" in how


def test_the_probe_restores_the_random_generators() -> None:
    """A program draws the same numbers with and without the probe."""
    policy = Random(SOURCES["one of a module"], remembers=False)
    with repeatable(policy) as restore:
        first = [np.random.random(), random.random(), HELD.random()]
        unseeded = np.random.default_rng().random()
        restore()
        assert first == [np.random.random(), random.random(), HELD.random()]
        assert unseeded == np.random.default_rng().random()
    assert np.random.default_rng().random() != np.random.default_rng().random()
    assert HELD.random() == first[2]

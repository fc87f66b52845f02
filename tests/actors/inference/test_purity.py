"""Which policies may be shared between robots."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from holdfast.actors.inference.purity import serving_mode
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


def test_the_probe_reports_every_call_as_progress() -> None:
    policy = Relative()
    calls = 0

    def progress() -> None:
        nonlocal calls
        calls += 1

    serving_mode(policy, batched=True, on_call=progress)
    assert calls == policy.calls > 0

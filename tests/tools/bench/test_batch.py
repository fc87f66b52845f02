"""The benchmark's own arithmetic: how many robots a device with known times carries."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.actors.inference.capacity import Load, capacity
from holdfast.policy.base import PolicySpec
from holdfast.tools.bench.batch import carried, simulate
from holdfast.tools.bench.serving import BUFFER_TIME_S

SPEC = PolicySpec(
    model="m",
    revision="1",
    cameras=(),
    state_names=(),
    action_names=(),
    chunk_size=48,
    fps=30.0,
)


def device(first_s: float, each_s: float, max_batch: int = 4) -> dict[int, list[float]]:
    return {b: [first_s + each_s * b] for b in range(1, max_batch + 1)}


def test_a_robot_alone_waits_for_the_model_only() -> None:
    latencies = simulate(1, device(0.02, 0.01), "deadline", 1.6)
    assert latencies == pytest.approx(np.full(len(latencies), 0.03))


@pytest.mark.parametrize("first_s", [0.0, 0.02, 0.1])
def test_batching_never_carries_fewer_than_one_at_a_time(first_s: float) -> None:
    times = device(first_s, 0.02)
    assert carried(times, "deadline", SPEC) >= carried(times, "round_robin", SPEC)


def test_one_at_a_time_carries_what_fills_the_device() -> None:
    """Each robot needs 50 ms in every 1.1 s: 22 of them, and not one more."""
    assert carried(device(0.0, 0.05), "round_robin", SPEC) == 22


def test_the_published_capacity_is_carried_with_room_to_spare() -> None:
    times = device(0.03, 0.01)
    rate = 1 / (SPEC.chunk_size / SPEC.fps - BUFFER_TIME_S)
    planned = capacity({b: t[0] for b, t in times.items()}, Load(rate, SPEC.chunk_size / SPEC.fps))
    assert 0 < planned <= carried(times, "deadline", SPEC) <= 1.6 * planned

"""How many robots a replica says it can carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.inference.capacity import Load, capacity, request_rate_hz

rates = st.floats(0.1, 50)
chunks = st.floats(0.2, 5)
times = st.floats(0.001, 1)


@given(rate=rates, chunk=chunks, rtt=st.floats(0, 0.1), t=times)
def test_one_at_a_time_it_is_the_published_formula(
    rate: float, chunk: float, rtt: float, t: float
) -> None:
    expected = min(0.8 / (rate * t), (chunk / 2 - rtt) / t)
    assert capacity({1: t}, Load(rate, chunk, rtt)) == max(0, int(expected))


@given(rate=rates, chunk=chunks, t=st.lists(times, min_size=1, max_size=8))
def test_the_planned_robots_fit_the_device_and_the_round(
    rate: float, chunk: float, t: list[float]
) -> None:
    """Simulated, not recomputed: some batch size serves all of them within half a chunk and keeps
    the device at 80 % or less."""
    service = dict(enumerate(t, start=1))
    robots = capacity(service, Load(rate, chunk))
    if robots == 0:
        return
    rounds = {size: -(-robots // size) * seconds for size, seconds in service.items()}
    busy = {size: robots * rate * seconds / size for size, seconds in service.items()}
    assert any(rounds[size] <= chunk / 2 + 1e-9 and busy[size] <= 0.8 + 1e-9 for size in service), (
        robots,
        rounds,
        busy,
    )


@given(rate=rates, chunk=chunks, t=st.lists(times, min_size=2, max_size=8))
def test_being_able_to_batch_never_costs_capacity(
    rate: float, chunk: float, t: list[float]
) -> None:
    service = dict(enumerate(t, start=1))
    load = Load(rate, chunk)
    assert capacity(service, load) >= capacity({1: service[1]}, load)


def test_a_batch_that_the_robots_cannot_fill_does_not_count() -> None:
    """Three robots would keep a batch of eight waiting for ever."""
    assert capacity({8: 1.0}, Load(rate_hz=2.0, horizon_s=4.0)) == 0


@pytest.mark.parametrize(
    ("chunk_s", "buffer_s", "latency_s", "expected"),
    [(1.5, 0.5, 0.05, 1.0), (1.0, 0.9, 0.05, 10.0), (0.5, 0.5, 0.1, 10.0)],
)
def test_a_robot_asks_once_per_played_chunk_but_not_before_the_answer(
    chunk_s: float, buffer_s: float, latency_s: float, expected: float
) -> None:
    assert request_rate_hz(chunk_s, buffer_s, latency_s) == pytest.approx(expected)

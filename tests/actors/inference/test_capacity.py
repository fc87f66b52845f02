"""The number of robots that a replica can serve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.inference.capacity import (
    UTILISATION,
    Load,
    capacity,
    request_rate_hz,
    request_s,
    slowed_capacity,
    slowed_interval_s,
)

rates = st.floats(0.1, 50)
chunks = st.floats(0.2, 5)
times = st.floats(0.001, 1)


@given(rate=rates, chunk=chunks, rtt=st.floats(0, 0.1), t=times)
def test_the_capacity_without_batches_is_the_published_formula(
    rate: float, chunk: float, rtt: float, t: float
) -> None:
    """For batches of one, N is the smaller of the device's bound and the round's bound."""
    expected = min(0.8 / (rate * t), (chunk / 2 - rtt) / t)
    assert capacity({1: t}, Load(rate, chunk, rtt)) == max(0, int(expected))


@given(rate=rates, chunk=chunks, t=st.lists(times, min_size=1, max_size=8))
def test_the_planned_robots_fit_the_device_and_the_round(
    rate: float, chunk: float, t: list[float]
) -> None:
    """In simulation, some batch size serves N robots within half a chunk and 80 % of the device."""
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
def test_larger_batches_never_reduce_the_capacity(
    rate: float, chunk: float, t: list[float]
) -> None:
    """The capacity with batches is at least that of batches of one."""
    service = dict(enumerate(t, start=1))
    load = Load(rate, chunk)
    assert capacity(service, load) >= capacity({1: service[1]}, load)


@given(
    chunk=chunks,
    buffer=st.floats(0, 2),
    rtt=st.floats(0, 0.1),
    t=st.lists(times, min_size=1, max_size=8),
    robots=st.integers(1, 64),
)
def test_a_robot_is_refused_only_where_no_pace_would_make_room(
    chunk: float, buffer: float, rtt: float, t: list[float], robots: int
) -> None:
    """A pace makes room if the device serves all in it, and plans last until the answers."""
    service = dict(enumerate(sorted(t), start=1))
    round_s = robots * request_s({b: s for b, s in service.items() if b <= robots})
    makes_room = round_s <= chunk - rtt - round_s - rtt
    if robots > slowed_capacity(service, chunk, rtt):
        assert not makes_room or round_s == pytest.approx(chunk / 2 - rtt)
        return
    load = Load(request_rate_hz(chunk, buffer, service[1]), chunk, rtt)
    interval_s = slowed_interval_s(service, robots, load, chunk)
    assert interval_s <= max(0.0, chunk - rtt - round_s), "a plan is never dry before its answer"
    if interval_s == 0 and robots > 1:
        assert round_s * load.rate_hz <= UTILISATION * 1.0001, "they fit at their own pace"
    elif robots > 1:
        assert interval_s >= min(round_s, 1 / load.rate_hz) * 0.9999, "the device keeps up"


def test_robots_that_fit_at_their_own_pace_are_not_slowed() -> None:
    """Two that ask once a second for 0.1 s of a device keep it a fifth busy."""
    load = Load(rate_hz=1.0, horizon_s=1.5)
    assert slowed_interval_s({1: 0.1}, 2, load, 1.5) == 0
    assert slowed_interval_s({1: 0.1}, 8, load, 1.5) == 0
    assert slowed_interval_s({1: 0.1}, 9, load, 3.0) == pytest.approx(1.125)


def test_a_batch_that_the_robots_cannot_fill_does_not_count() -> None:
    """A batch size counts only if its capacity is at least that size."""
    assert capacity({8: 1.0}, Load(rate_hz=2.0, horizon_s=4.0)) == 0


@pytest.mark.parametrize(
    ("chunk_s", "buffer_s", "latency_s", "expected"),
    [(1.5, 0.5, 0.05, 1.0), (1.0, 0.9, 0.05, 10.0), (0.5, 0.5, 0.1, 10.0)],
)
def test_a_robot_asks_once_per_played_chunk_but_not_before_the_answer(
    chunk_s: float, buffer_s: float, latency_s: float, expected: float
) -> None:
    """The period of requests is the longer of the chunk without its buffer and the latency."""
    assert request_rate_hz(chunk_s, buffer_s, latency_s) == pytest.approx(expected)

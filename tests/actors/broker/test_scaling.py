"""How many replicas a service should have."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.broker.scaling import (
    HEADROOM,
    PRESSED_NS,
    UTILISATION,
    Scaling,
    Signals,
)
from holdfast.actors.runtime.configs import ServiceTarget

SECOND = 1_000_000_000
DOWN_NS = round(ServiceTarget().down_after_s * SECOND)


def target(fewest: int, most: int, slo_ms: float | None = None) -> ServiceTarget:
    """What the fleet file asks of a service."""
    return ServiceTarget(fewest=fewest, most=most, slo_ms=slo_ms)


LOADS = st.floats(0, 20)
TARGETS = st.builds(
    lambda fewest, more, slo_ms: target(fewest, fewest + more, slo_ms),
    st.integers(1, 4),
    st.integers(0, 8),
    st.none() | st.floats(10, 500),
)
SIGNALS = st.builds(
    Signals,
    ready=st.integers(0, 20),
    offered=LOADS,
    seats=st.floats(0, 20),
    requests_per_s=st.floats(0, 100),
    misses_per_s=st.floats(0, 100),
    p95_ms=st.none() | st.floats(0, 2000),
    load_s=st.floats(0, 300),
)


def run(scaling: Scaling, signals: Iterable[Signals], step_ns: int = 5 * SECOND) -> list[int]:
    """What is wanted after each of the `signals`, `step_ns` apart."""
    return [scaling.step(each, n * step_ns) for n, each in enumerate(signals)]


@given(TARGETS, st.lists(SIGNALS, max_size=60))
def test_the_number_never_leaves_its_bounds(aim: ServiceTarget, signals: list[Signals]) -> None:
    """For any signals the wanted number is between the least and the most."""
    for wanted in run(Scaling(aim), signals):
        assert aim.fewest <= wanted <= aim.most


@given(
    TARGETS,
    LOADS,
    st.floats(0, 12),
    st.lists(LOADS, max_size=40),
    st.floats(1, 2000),
    st.floats(0, 60),
)
def test_a_constant_load_ends_in_a_constant_number(
    aim: ServiceTarget,
    offered: float,
    seats: float,
    before: list[float],
    busy_ms: float,
    load_s: float,
) -> None:
    """The replicas follow it, and answers are slower the fuller they are."""
    scaling = Scaling(aim)
    now_ns, ready = 0, aim.fewest
    path: list[int] = []
    for load in [*before, *[offered] * 400]:
        now_ns += 5 * SECOND
        share = load / max(ready, 1)
        p95_ms = busy_ms * (1 + share)
        signals = Signals(ready, load, seats, 10.0, 0.0, p95_ms, load_s)
        ready = scaling.step(signals, now_ns)
        path.append(ready)
    after = path[len(before) :]
    turns = [b - a for a, b in pairwise(after) if a != b]
    ups = [k for k, turn in enumerate(turns) if turn > 0]
    # Down from an earlier, higher load it may go one too far for the objective, and learns that.
    assert not ups or all(turn > 0 for turn in turns[ups[0] :])
    assert after[-100:] == [after[-1]] * 100


@given(TARGETS, st.lists(st.tuples(LOADS, st.floats(0, 5)), min_size=1, max_size=80))
def test_more_load_never_wants_fewer(aim: ServiceTarget, loads: list[tuple[float, float]]) -> None:
    """A load that is at least another's at every instant has at least its replicas, always."""
    less = run(Scaling(aim), (Signals(0, load) for load, _ in loads))
    more = run(Scaling(aim), (Signals(0, load + extra) for load, extra in loads))
    assert all(a <= b for a, b in zip(less, more, strict=True))


@given(TARGETS, st.lists(SIGNALS, max_size=60))
def test_the_number_goes_down_only_where_the_load_fits_with_headroom(
    aim: ServiceTarget, signals: list[Signals]
) -> None:
    """By one, once it has fitted for a minute and for twice as long as a replica loads."""
    scaling, before = Scaling(aim), aim.fewest
    last_ns = fitted_since_ns = 0
    for n, each in enumerate(signals):
        now_ns = n * 20 * SECOND
        if each.offered > HEADROOM * UTILISATION * (before - 1) or each.seats > before - 1:
            fitted_since_ns = now_ns + 20 * SECOND
        wanted = scaling.step(each, now_ns)
        if wanted < before:
            assert wanted == before - 1
            assert each.offered <= HEADROOM * UTILISATION * wanted and each.seats <= wanted
            patience_ns = max(DOWN_NS, 2 * each.load_s * SECOND)
            assert now_ns - max(last_ns, fitted_since_ns) >= patience_ns - 20 * SECOND
        if wanted != before:
            last_ns, before = now_ns, wanted


def test_answers_close_to_the_objective_want_one_more_before_it_breaks() -> None:
    """At 0.8 of it for ten seconds; what was too much for one is so afterwards too."""
    scaling = Scaling(target(1, 4, slo_ms=100.0))
    near = Signals(ready=1, offered=0.5, requests_per_s=10.0, p95_ms=85.0)
    assert scaling.step(near, 0) == 1
    assert scaling.step(near, PRESSED_NS) == 2
    fine = Signals(ready=2, offered=0.5, requests_per_s=10.0, p95_ms=40.0)
    assert scaling.step(fine, PRESSED_NS + 10 * DOWN_NS) == 2
    assert scaling.step(fine, PRESSED_NS + 20 * DOWN_NS) == 2


def test_answers_after_their_slack_want_one_more() -> None:
    """Without an objective the robots' own deadlines count."""
    scaling = Scaling(target(1, 4))
    late = Signals(ready=1, offered=0.7, requests_per_s=10.0, misses_per_s=0.5)
    assert scaling.step(late, 0) == 1
    assert scaling.step(late, PRESSED_NS) == 2


def test_one_replica_more_is_awaited_before_the_next_is_wanted() -> None:
    """Answers are late until it is there: that does not count against it."""
    scaling = Scaling(target(1, 9, slo_ms=100.0))
    near = Signals(ready=1, offered=0.7, requests_per_s=10.0, p95_ms=300.0)
    assert {scaling.step(near, k * SECOND) for k in range(120)} == {1, 2}


def test_an_objective_out_of_reach_wants_no_more_replicas() -> None:
    """An idle device does not answer sooner because there is another one."""
    scaling = Scaling(target(1, 9, slo_ms=10.0))
    slow = Signals(ready=1, offered=0.05, requests_per_s=1.0, p95_ms=50.0)
    assert {scaling.step(slow, k * SECOND) for k in range(120)} == {1}


def test_a_broker_that_restarts_wants_the_replicas_that_are_there() -> None:
    """They go down as slowly as if it had always been there."""
    scaling = Scaling(target(1, 9))
    assert scaling.step(Signals(ready=0, offered=0.0), 0) == 1
    assert scaling.step(Signals(ready=5, offered=0.1), SECOND) == 5
    assert scaling.step(Signals(ready=5, offered=0.1), DOWN_NS) == 5
    assert scaling.step(Signals(ready=5, offered=0.1), SECOND + DOWN_NS) == 4

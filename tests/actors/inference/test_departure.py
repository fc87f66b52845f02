"""How a replica leaves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.inference.departure import Departure

S_NS = 1_000_000_000


def test_a_draining_replica_waits_for_its_release_or_the_time_limit() -> None:
    """With sessions it is complete only once the broker has released it, and overdue at drain_s."""
    departure = Departure(drain_s=2.0)
    assert not departure.overdue(10 * S_NS)
    assert departure.begin(0, stop=False)
    assert not departure.complete(busy=False, used_by={0})
    assert not departure.overdue(2 * S_NS - 1) and departure.overdue(2 * S_NS)
    departure.release()
    assert departure.complete(busy=False, used_by={0})
    assert not departure.complete(busy=True, used_by={0}), "requests are answered first"


def test_a_release_before_the_drain_has_no_effect() -> None:
    """The broker's DRAIN begins a drain, and only the next one releases."""
    departure = Departure(drain_s=2.0)
    departure.release()
    departure.begin(0, stop=False)
    assert not departure.complete(busy=False, used_by={0})
    departure.release()
    assert departure.complete(busy=False, used_by={0})


@given(stops=st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=8))
def test_a_stop_replaces_a_drain_and_is_never_replaced(stops: list[tuple[bool, int]]) -> None:
    """The time limit counts from the first call, and `begin` is true exactly for a change."""
    departure, now_s, before = Departure(drain_s=2.0), 0, ""
    first_s = stops[0][1]
    for stop, pause_s in stops:
        now_s += pause_s
        expected = "stopping" if stop or before == "stopping" else "draining"
        assert departure.begin(now_s * S_NS, stop=stop) is (expected != before)
        assert departure.leaving == expected
        before = expected
    assert departure.overdue((first_s + 2) * S_NS)
    assert not departure.overdue((first_s + 2) * S_NS - 1)

"""The broker of many robots looks for messages seldom, and that of few at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.broker.gathering import CROWD, GATHER_NS, gather_ns

TURNED_NS = 100_000_000_000
PASSED = st.integers(0, 3 * GATHER_NS)


@given(st.integers(0, CROWD - 1), PASSED, st.booleans())
def test_the_messages_of_few_robots_wait_for_nothing(
    sessions: int, passed_ns: int, more: bool
) -> None:
    """With at most 31 sessions the broker sleeps for 0 ns."""
    assert gather_ns(sessions, TURNED_NS, TURNED_NS + passed_ns, more=more) == 0


@given(st.integers(CROWD, 10_000), PASSED)
def test_a_turn_that_left_messages_is_followed_by_the_next_at_once(
    sessions: int, passed_ns: int
) -> None:
    """The broker sleeps for 0 ns, however many robots there are."""
    assert gather_ns(sessions, TURNED_NS, TURNED_NS + passed_ns, more=True) == 0


@given(st.integers(CROWD, 10_000), PASSED)
def test_the_turns_of_a_crowds_broker_begin_three_milliseconds_apart(
    sessions: int, passed_ns: int
) -> None:
    """One that took as long itself waits for nothing."""
    now_ns = TURNED_NS + passed_ns
    slept_ns = gather_ns(sessions, TURNED_NS, now_ns, more=False)
    assert now_ns + slept_ns == max(now_ns, TURNED_NS + 3_000_000)

"""How much peers may make the broker hold: a pure function of sessions and limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.broker.memory_bound import (
    FLOOD_BYTES,
    HEADROOM_BYTES,
    LEAST_BYTES,
    SESSION_BYTES,
    max_growth_bytes,
)

SESSIONS = st.integers(0, 500)
LOW = st.integers(0, 200 << 20)


@given(SESSIONS, LOW, st.integers(0, 4 << 30))
def test_the_broker_acts_before_the_supervisor_where_the_limit_leaves_room(
    sessions: int, low: int, limit: int
) -> None:
    """The headroom below the limit is kept, unless less than the least is left."""
    most = max_growth_bytes(sessions, low, limit)
    if limit - low >= HEADROOM_BYTES + LEAST_BYTES:
        assert low + most <= limit - HEADROOM_BYTES
    else:
        assert most == LEAST_BYTES


@given(SESSIONS, LOW, st.none() | st.integers(0, 4 << 30))
def test_a_limit_never_allows_more_than_the_sessions_need(
    sessions: int, low: int, limit: int | None
) -> None:
    """Without a limit the bound is that of the sessions alone."""
    free = FLOOD_BYTES + SESSION_BYTES * sessions
    assert max_growth_bytes(sessions, low, None) == free
    assert LEAST_BYTES <= max_growth_bytes(sessions, low, limit) <= free

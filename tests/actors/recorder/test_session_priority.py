"""When a recorder yields the processor."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.recorder.session_priority import SessionPriority

S = 1_000_000_000
Moments = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 1), st.booleans(), st.integers(1, 40 * S)),
    min_size=1,
    max_size=30,
)


@given(moments=Moments)
def test_a_recorder_that_is_behind_never_yields(
    moments: list[tuple[float, int, bool, int]],
) -> None:
    """Nor while a person waits, nor in the twenty seconds after; else, in the end, it does."""
    priority = SessionPriority(Path("/dev/null"))
    now_ns = urgent_ns = dropped = 0
    for waiting, drops, waits, after_ns in moments:
        now_ns += after_ns
        dropped += drops
        priority.follow(waiting, dropped, now_ns, waits=waits)
        if waits or drops or waiting > 0.25:
            urgent_ns = now_ns
            assert not priority.low
        elif waiting == 0 and now_ns - urgent_ns >= 640 * S:
            assert priority.low
        elif urgent_ns and now_ns - urgent_ns < 20 * S:
            assert not priority.low
    priority.follow(0.0, dropped, now_ns + 640 * S, waits=False)
    assert priority.low
    priority.restore()
    assert not priority.low


def test_a_recorder_that_gets_no_processor_yields_less_and_less(tmp_path: Path) -> None:
    """It takes its share again, for twice as long as before, until yielding does no harm."""
    place = tmp_path / "autogroup"
    priority, now_ns, tries = SessionPriority(place), 0, []
    for second in range(200):
        now_ns = second * S
        was = priority.low
        priority.follow(0.0, 0, now_ns, waits=False, late_ns=2 * S if was else 0)
        assert not (was and priority.low), "one late turn is enough"
        tries += [second] * priority.low
    assert [after - before for before, after in pairwise(tries)] == [41, 81]
    for second in range(200, 600):
        priority.follow(0.0, 0, second * S, waits=False)
    assert priority.low
    priority.follow(0.0, 0, 600 * S, waits=False, late_ns=2 * S)
    priority.follow(0.0, 0, 641 * S, waits=False)
    assert priority.low, "what held for long counts as a new attempt"


def test_a_recorder_that_is_late_without_yielding_does_not_blame_it(tmp_path: Path) -> None:
    """Its copies of large pictures take time too."""
    priority = SessionPriority(tmp_path / "autogroup")
    priority.follow(0.0, 0, 0, waits=False, late_ns=9 * S)
    assert priority.low


def test_the_session_is_given_the_nice_value_and_back(tmp_path: Path) -> None:
    """The kernel reports both values."""
    place = tmp_path / "autogroup"
    priority = SessionPriority(place)
    priority.follow(0.0, 0, 0, waits=False)
    assert (priority.low, place.read_text()) == (True, "15")
    priority.follow(0.5, 0, 1, waits=False)
    assert (priority.low, place.read_text()) == (False, "0")


def test_a_kernel_without_sessions_priorities_is_asked_once(tmp_path: Path) -> None:
    """The reason is kept, and recording goes on."""
    priority = SessionPriority(tmp_path / "absent" / "autogroup")
    for second in range(5):
        priority.follow(0.0, 0, second * S, waits=False)
    assert not priority.low
    assert "No such file or directory" in priority.fault

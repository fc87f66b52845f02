"""When a robot's frames are left in their cameras' rings, and when they are copied."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.network.ring_use import COPY_AFTER_NS, FAILED_NS, RingUse

MS = 1_000_000


@given(
    st.lists(
        st.tuples(
            st.integers(0, 100), st.sampled_from(["found", "gone", "nothing"]), st.integers(0, 100)
        ),
        max_size=30,
    )
)
def test_frames_are_left_in_their_rings_while_answers_come_before_they_are_copied(
    requests: list[tuple[int, str, int]],
) -> None:
    """After a later one, or none, the next are copied at once; after one that failed, for long."""
    use, now, failed_until = RingUse(), 10**12, 0
    soon = True
    for took_ms, answer, pause_ms in requests:
        allowed = use.allowed(now)
        assert allowed == (soon and now >= failed_until)
        use.asked(allowed, now)
        assert use.copy_due_ns == (now + COPY_AFTER_NS if allowed else None)
        asked, now = now, now + took_ms * MS
        if allowed and now - asked >= COPY_AFTER_NS:
            use.copied(still_there=True)
        if answer != "nothing":
            use.answered(answer == "found", now)
            soon = now - asked < COPY_AFTER_NS
            if answer == "gone" and allowed:
                failed_until = now + FAILED_NS
            assert use.copy_due_ns is None
        now += pause_ms * MS
        if answer == "nothing":
            soon = soon and now - asked < COPY_AFTER_NS
    assert sum(use.counts[n] for n in ("in_rings", "copied")) == len(requests)


def test_an_answer_that_nothing_awaits_changes_nothing() -> None:
    """Two answers to one request are one."""
    use = RingUse()
    use.asked(True, 0)
    use.answered(True, MS)
    use.answered(False, 10 * COPY_AFTER_NS)
    assert use.allowed(10 * COPY_AFTER_NS)
    assert use.counts == {"in_rings": 1}

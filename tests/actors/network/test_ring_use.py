"""When a robot's frames are left in their cameras' rings, and when they are copied."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.network.ring_use import FAILED_NS, MAX_FAILED_NS, RingUse
from holdfast.actors.runtime.ring_times import COPY_AFTER_NS

MS = 1_000_000


@given(
    st.lists(
        st.tuples(
            st.integers(0, 100),
            st.sampled_from(["found", "gone", "nothing"]),
            st.sampled_from([0, 10, 100, FAILED_NS // MS, 2 * FAILED_NS // MS]),
        ),
        max_size=30,
    )
)
def test_frames_are_left_in_their_rings_while_answers_come_before_they_are_copied(
    requests: list[tuple[int, str, int]],
) -> None:
    """After a later one, or none, the next are copied at once; after one that failed, for long."""
    use, now, failed_until, failed_for = RingUse(), 10**12, 0, FAILED_NS
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
                failed_until = now + failed_for
                failed_for = min(2 * failed_for, MAX_FAILED_NS)
            elif allowed and soon:
                failed_for = FAILED_NS
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


def test_frames_that_are_never_found_cost_a_request_ever_more_rarely() -> None:
    """A camera's ring that the replica cannot read costs at most one request in `MAX_FAILED_NS`."""
    use, now, failed = RingUse(), 10**12, 0
    for _ in range(30):
        failed += use.allowed(now)
        use.asked(use.allowed(now), now)
        use.answered(False, now + MS)
        now += FAILED_NS + 2 * MS
    assert failed == 5, "after 0, 1, 3, 7 and 15 times `FAILED_NS`"
    now += MAX_FAILED_NS
    assert use.allowed(now)
    use.asked(True, now)
    use.answered(True, now + MS)
    use.asked(True, now)
    use.answered(False, now + MS)
    assert not use.allowed(now + FAILED_NS)
    assert use.allowed(now + FAILED_NS + MS), "the first of a row again"

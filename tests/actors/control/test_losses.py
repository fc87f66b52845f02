"""What was dropped and refused, reported once a minute, each of it once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.losses import MINUTE_NS, Losses

counts = st.dictionaries(st.sampled_from(("expired", "unasked")), st.integers(0, 5))


def test_a_line_has_only_the_losses_since_the_one_before_by_reason() -> None:
    """Nothing within a minute of the last, nothing where nothing was added."""
    losses = Losses({"expired": 7}, {}, 0)
    assert losses.added({"expired": 9}, {}, MINUTE_NS - 1) == ""
    reported = losses.added({"expired": 9, "error": 1}, {"range": 30}, MINUTE_NS)
    assert reported == (
        "command refused (range): 30, chunk dropped (expired): 2, chunk dropped (error): 1"
    )
    assert losses.added({"expired": 9, "error": 1}, {"range": 30}, 2 * MINUTE_NS) == ""


seconds = st.integers(0, 60).map(lambda s: s * MINUTE_NS // 60)


@given(st.lists(st.tuples(seconds, counts), max_size=30))
def test_every_loss_is_reported_once_and_no_two_lines_share_a_minute(
    steps: list[tuple[int, dict[str, int]]],
) -> None:
    """For any sequence of counts and pauses."""
    losses = Losses({}, {}, 0)
    now_ns, reported, lines_ns = 0, 0, [0]
    total: dict[str, int] = {}
    for pause, more in [*steps, (MINUTE_NS, {})]:
        now_ns += pause
        total = {key: total.get(key, 0) + more.get(key, 0) for key in {*total, *more}}
        line = losses.added(total, {}, now_ns)
        if line:
            assert now_ns - lines_ns[-1] >= MINUTE_NS
            lines_ns.append(now_ns)
            reported += sum(int(part.rpartition(" ")[2]) for part in line.split(", "))
    assert reported == sum(total.values())

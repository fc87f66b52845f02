"""What was dropped and refused, told once a minute, each of it once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.losses import MINUTE_NS, Losses

counts = st.dictionaries(st.sampled_from(("expired", "unasked")), st.integers(0, 5))


def test_only_what_is_new_is_told_with_its_reason() -> None:
    losses = Losses({"expired": 7}, {}, 0)
    assert losses.added({"expired": 9}, {}, MINUTE_NS - 1) == ""
    told = losses.added({"expired": 9, "error": 1}, {"range": 30}, MINUTE_NS)
    assert told == (
        "command refused (range): 30, chunk dropped (expired): 2, chunk dropped (error): 1"
    )
    assert losses.added({"expired": 9, "error": 1}, {"range": 30}, 2 * MINUTE_NS) == ""


seconds = st.integers(0, 60).map(lambda s: s * MINUTE_NS // 60)


@given(st.lists(st.tuples(seconds, counts), max_size=30))
def test_everything_is_told_once_and_no_two_lines_share_a_minute(
    steps: list[tuple[int, dict[str, int]]],
) -> None:
    losses = Losses({}, {}, 0)
    now, told, total, lines = 0, 0, {}, [0]
    for pause, more in [*steps, (MINUTE_NS, {})]:
        now += pause
        total = {key: total.get(key, 0) + more.get(key, 0) for key in {*total, *more}}
        line = losses.added(total, {}, now)
        if line:
            assert now - lines[-1] >= MINUTE_NS
            lines.append(now)
            told += sum(int(part.rpartition(" ")[2]) for part in line.split(", "))
    assert told == sum(total.values())

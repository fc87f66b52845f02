"""The slower pace that a service with too many robots gives each of them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.tests.actors.control.request_cycles import (
    CHUNK,
    MS,
    S,
    ask,
    key,
    new_cycle,
    opened,
    streaming,
)

STEP_NS = 100 * MS


def paced(interval_s: float, buffer_time_s: float = 0.5) -> RequestCycle:
    """A cycle with a chunk of a second at the instant S, which the service has given a pace."""
    cycle = opened(new_cycle(plan_settings={"buffer_time_s": buffer_time_s}))
    ask(cycle, S)
    interval_ns = round(interval_s * S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, S, interval_ns=interval_ns) is None
    return cycle


def test_a_robot_keeps_to_the_pace_that_its_service_gives() -> None:
    """It asks later than its buffer time says, and says why in its warnings."""
    own, slowed = streaming(), paced(0.8)
    for cycle in (own, slowed):
        cycle.latency._expected_ns = 10 * MS
        for step in range(6):
            cycle.buffer.pop(S + step * STEP_NS)
    now_ns = S + 6 * STEP_NS
    assert own.ask(now_ns, 16, now_ns) is not None
    assert slowed.ask(now_ns, 16, now_ns) is None
    assert "asks once in 0.8 s" in slowed.warnings[-1] and "s/0" in slowed.warnings[-1]
    assert slowed.ask(now_ns + 2 * STEP_NS, 18, now_ns + 2 * STEP_NS) is not None


def test_a_robot_that_waits_for_its_pace_is_not_degraded() -> None:
    """No chunk is due meanwhile, however long its buffer time is."""
    cycle = paced(0.9, buffer_time_s=1.0)
    cycle.latency._expected_ns = 10 * MS
    for step in range(8):
        cycle.elapse(S + step * STEP_NS)
        cycle.buffer.pop(S + step * STEP_NS)
        assert not cycle._due


def test_a_new_session_begins_without_a_pace() -> None:
    """Another replica may have room; the warning ends."""
    cycle = paced(30.0)
    cycle.session.lost("gone", cycle.session.epoch, 2 * S)
    opened(cycle, 4 * S)
    cycle.buffer.void()
    assert cycle.ask(4 * S, 50, 4 * S) is not None
    assert cycle.warnings == []


class Answers(NamedTuple):
    """What a service that answers a robot of `fps` tells it, all in its steps but the pace."""

    fps: float
    took_steps: list[float]
    """How long each answer takes."""
    waits: list[tuple[float, float]]
    """The waits and the batches that the answers name, in turn."""
    interval_s: float


ALONE = [(0.0, 0.0)]


@given(
    answers=st.builds(
        Answers,
        fps=st.floats(1, 1000),
        took_steps=st.lists(st.floats(0.01, 4), min_size=1, max_size=12),
        waits=st.lists(st.tuples(st.floats(0, 12), st.floats(0, 4)), min_size=1, max_size=4),
        interval_s=st.just(0.0) | st.floats(0, 60),
    ),
    buffer_steps=st.floats(0.5, 10),
)
@example(Answers(4.0, [0.36] * 12, [(0.12, 0.16)], 0.0), 2.0)
@example(Answers(3.0, [0.27] * 12, [(0.09, 0.12)], 0.0), 1.5)
@example(Answers(1.0, [0.09] * 12, [(0.03, 0.04)], 0.0), 1.5)
@example(Answers(4.0, [0.3], ALONE, 60.0), 2.0)
def test_neither_a_pace_nor_a_crowd_lets_a_plan_run_dry(
    answers: Answers, buffer_steps: float
) -> None:
    """With answers within what was expected a plan lasts wherever it does without the two."""
    if not dry_ticks(answers._replace(waits=ALONE, interval_s=0.0), buffer_steps):
        assert not dry_ticks(answers, buffer_steps)


def dry_ticks(answers: Answers, buffer_steps: float) -> int:
    """At how many ticks a robot has nothing to play until its last request is answered."""
    fps, interval_ns = answers.fps, round(answers.interval_s * S)
    settings = {"buffer_time_s": buffer_steps / fps}
    cycle = opened(new_cycle(fps=fps, plan_settings=settings), fps=fps)
    step_ns = cycle.step_ns
    took_ns = [round(steps * step_ns) for steps in answers.took_steps]
    told_ns = [tuple(round(steps * step_ns) for steps in each) for each in answers.waits]
    now_ns, step, dry, answered_ns = S, 10, 0, None
    for turn, answer_ns in enumerate([0, *took_ns]):
        while (request := cycle.ask(now_ns, step, now_ns)) is None:
            dry += cycle.buffer.pop(now_ns) is None
            now_ns, step = now_ns + step_ns, step + 1
        cycle.asked(now_ns)
        answered_ns = now_ns + answer_ns
        while now_ns < answered_ns:
            dry += cycle.buffer.pop(now_ns) is None
            now_ns, step = now_ns + step_ns, step + 1
        waited_ns, batch_ns = told_ns[turn % len(told_ns)]
        name = request.asked.seq, request.asked.episode, request.asked.epoch
        told = {"interval_ns": interval_ns, "waited_ns": waited_ns, "batch_ns": batch_ns}
        assert cycle.replied(CHUNK, CHUNK, name, step, answered_ns, **told) is None
        cycle.latency._expected_ns = max(took_ns)
    return dry

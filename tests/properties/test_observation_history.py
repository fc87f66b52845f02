"""What a policy that sees several observations gets, against a model that keeps every tick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.actors.control.observation_history import ObservationHistory
from holdfast.actors.control.tick_log import TICK_BYTES, TickLog

STEP_NS = 30_000_000


@dataclass
class Tick:
    """One tick of the model: its policy step, when it ran, its episode and its state."""

    step: int
    instant_ns: int
    episode: int
    state: float


def wanted(ticks: list[Tick], steps: int, stride: int) -> list[Tick]:
    """Of each step at the stride before the last one the newest tick of the episode that is not
    later; the episode's first where there is none."""
    now = ticks[-1]
    own = [tick for tick in ticks if tick.episode == now.episode]
    chosen = []
    for back in range(steps - 1, -1, -1):
        until = [tick for tick in own if tick.step <= now.step - back * stride]
        chosen.append(until[-1] if until else own[0])
    return chosen


@settings(deadline=None)
@given(
    run=st.lists(
        st.tuples(
            st.integers(0, 20).map(lambda n: max(n - 16, 0)),  # missed steps
            st.integers(0, STEP_NS // 3),  # lateness
            st.integers(0, 30).map(lambda n: n == 0),  # a reset
        ),
        min_size=1,
        max_size=120,
    ),
    steps=st.integers(2, 8),
    stride=st.integers(1, 12),
    interpolate=st.sampled_from([1, 3]),
    asks=st.lists(st.integers(0, 119), min_size=1, max_size=5),
)
def test_the_history_has_the_observations_at_the_stride_whenever_it_is_asked_for(
    run: list[tuple[int, int, bool]],
    steps: int,
    stride: int,
    interpolate: int,
    asks: list[int],
) -> None:
    """With missed and late ticks, resets, and ticks between policy steps."""
    log = TickLog(memoryview(bytearray(TICK_BYTES)), 1, 1)
    ticks: list[Tick] = []
    step = episode = 0
    for place, (missed, late_ns, reset) in enumerate(run):
        step += 1 + missed
        episode += reset
        for part in range(interpolate):
            due_ns = step * STEP_NS + part * STEP_NS // interpolate
            state = np.array([place if not part else -1], np.float32)
            begins = part == 0
            log.write(due_ns + late_ns, late_ns, episode, state, None, None, begins)
            if begins:
                ticks.append(Tick(step, due_ns + late_ns, episode, place))
                if place in asks:
                    found = ObservationHistory.of(log, steps, stride, STEP_NS, interpolate)
                    expected = wanted(ticks, steps, stride)
                    assert found.states[:, 0].tolist() == [tick.state for tick in expected]
                    ages_ns = [ticks[-1].instant_ns - tick.instant_ns for tick in expected]
                    assert list(found.age_ns) == ages_ns
                    assert found.episode_age_ns >= max(ages_ns)


def test_a_history_begins_anew_after_a_break() -> None:
    """The first observation after it stands for all before."""
    log = TickLog(memoryview(bytearray(TICK_BYTES)), 1, 1)
    for place, due_ns in enumerate((0, STEP_NS, 40 * STEP_NS, 41 * STEP_NS)):
        log.write(due_ns, 0, 0, np.array([place], np.float32), None, None, begins_step=True)
    found = ObservationHistory.of(log, 4, 1, STEP_NS)
    assert found.states[:, 0].tolist() == [2, 2, 2, 3]
    assert found.episode_age_ns == 2 * STEP_NS


def test_a_history_continues_where_a_killed_loop_left_it() -> None:
    """The log lies in memory that outlives the process: another writer finds its ticks."""
    memory = memoryview(bytearray(TICK_BYTES))
    for place in range(6):  # each tick by another incarnation
        state = np.array([place], np.float32)
        TickLog(memory, 1, 1).write(place * STEP_NS, 0, 0, state, None, None, begins_step=True)
    log = TickLog(memory, 1, 1)
    assert ObservationHistory.of(log, 3, 2, STEP_NS).states[:, 0].tolist() == [1, 3, 5]

"""The judge of missed ticks: what the machine explains, and nothing more."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.missed_ticks import unexplained
from holdfast.actors.control.tick_log import TickRecord
from holdfast.tests.chaos.witnesses import Miss, Witnesses, harmed, misses
from holdfast.tests.waiting import wait_until

MS = 1_000_000
PERIOD = 33 * MS


def tick(due_ns: int, lateness_ns: int, waited_ns: int = 0) -> TickRecord:
    none, at_ns = np.zeros(0, np.float32), due_ns + lateness_ns
    return TickRecord(0, at_ns, lateness_ns, 0, none, None, None, None, True, False, waited_ns)


@given(st.lists(st.integers(0, 5 * PERIOD), min_size=1, max_size=30))
def test_a_tick_late_by_n_periods_misses_n_ticks(late: list[int]) -> None:
    """Lateness of less than a period misses none."""
    due, ticks = 10 * PERIOD, []
    for lateness in [*late, 0]:
        ticks.append(tick(due, lateness))
        due += (1 + lateness // PERIOD) * PERIOD
    found = misses(ticks, PERIOD)
    assert [m.ticks for m in found] == [n for lateness in late if (n := lateness // PERIOD)]
    assert all(m.until_ns - m.due_ns >= m.ticks * PERIOD for m in found)


def test_a_hole_in_the_tick_log_counts_as_missed_ticks() -> None:
    """Also when the ticks around it are not late."""
    (found,) = misses([tick(0, 0), tick(10 * PERIOD, 0)], PERIOD)
    assert found == Miss(0, 10 * PERIOD, 9, (10 * PERIOD, 10 * PERIOD))
    assert unexplained(found.due_ns, found.until_ns, [(0, PERIOD)], PERIOD)


@pytest.mark.parametrize(("waited_ms", "harms"), [(0, True), (50, True), (80, False)])
def test_a_wait_for_a_processor_excuses_as_much_of_a_miss_as_it_took(
    waited_ms: int, harms: bool
) -> None:
    """Where no witness was kept waiting too."""
    ticks = [tick(0, 0), tick(PERIOD, 100 * MS, waited_ms * MS), tick(5 * PERIOD, 0)]
    assert bool(harmed("r1", ticks, PERIOD, [], [])) is harms


def test_a_stopped_witness_reports_the_time_in_which_it_could_not_run(tmp_path: Path) -> None:
    """That pause explains a miss in the same time, and no pause leaves it unexplained."""
    began = time.monotonic_ns()
    with closing(Witnesses(tmp_path)) as witnesses:
        pid, file = witnesses._processes[0].pid, witnesses._files[0]
        wait_until(file.read_text, "the witness watches")
        os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic_ns()
        time.sleep(0.3)  # that it misses this is what is tested
        resumed = time.monotonic_ns()
        os.kill(pid, signal.SIGCONT)
        pauses = witnesses.end()
    assert all(began < start <= end < time.monotonic_ns() for start, end in pauses)
    assert unexplained(stopped, resumed, [], PERIOD)
    assert not unexplained(stopped, resumed, pauses, PERIOD)

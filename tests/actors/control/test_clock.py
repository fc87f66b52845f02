"""The tick clock: absolute deadlines, the next-grid-point policy, a spin that knows its place."""

from __future__ import annotations

import subprocess
import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.clock import TickClock, resume_grid

MS = 1_000_000


@given(st.lists(st.integers(0, 10**9), max_size=50), st.integers(1 * MS, 100 * MS))
def test_the_clock_never_bursts_and_never_leaves_its_grid(lateness: list[int], period: int) -> None:
    """However late it woke up, the next deadline is the next grid point after that moment."""
    clock = TickClock(period, 1000)
    counted = 0
    for late in lateness:
        woke = clock.deadline_ns + late
        missed = clock.advance(late)
        counted += 1 + missed
        assert missed == late // period, "a tick is missed once the loop is a period late"
        assert woke < clock.deadline_ns <= woke + period
        assert clock.deadline_ns == 1000 + counted * period


@given(st.integers(1, 10**15), st.integers(0, 10**11), st.integers(1 * MS, 100 * MS))
def test_a_restarted_loop_continues_the_grid_and_counts_the_points_that_it_missed(
    last: int, gap: int, period: int
) -> None:
    """The deadline is a grid point after the last one; those between passed without a process."""
    deadline, unattended = resume_grid(last, period, last + gap)
    assert (deadline - last) % period == 0 and deadline > last
    if gap < period:
        assert (deadline, unattended) == (last + period, 0), "nothing was missed: wait for the next"
    else:
        assert deadline <= last + gap < deadline + period, "the newest point that passed is played"
        assert unattended == (deadline - last) // period - 1


def test_a_deadline_is_waited_for_and_a_passed_one_is_not() -> None:
    """`wait` returns at the deadline or after it, with the lateness; it never sleeps past one."""
    start = time.monotonic_ns()
    clock = TickClock(5 * MS, start + 5 * MS)
    for _ in range(20):
        lateness = clock.wait()
        assert time.monotonic_ns() >= clock.deadline_ns
        clock.advance(lateness)
    assert time.monotonic_ns() - start >= 100 * MS
    clock.deadline_ns = start
    before = time.monotonic_ns()
    assert clock.wait() >= before - start


def test_a_fast_loop_never_spins_for_more_than_a_quarter_of_its_period() -> None:
    """The spin window is bounded by the period too, so that a fast loop leaves the core idle."""
    assert TickClock(100_000, 0).spin_ns <= 25_000


def test_each_kernel_setting_is_reported_as_it_took_effect() -> None:
    """In a process of its own, because these settings stay."""
    script = (
        "from holdfast.actors.control.realtime import take\n"
        "from holdfast.actors.control.config import TimingSettings\n"
        "import os\n"
        "took = take(TimingSettings(affinity=(0,)))\n"
        "assert os.sched_getaffinity(0) == {0} if took['affinity'] == 'yes' else took['affinity']\n"
        "assert took['fifo'] == took['mlock'] == 'off', took\n"
        "slack = int(open('/proc/self/timerslack_ns').read())\n"
        "assert (slack == 1) == (took['timer_slack'] == 'yes'), slack\n"
        "took = take(TimingSettings(affinity=(4096,), fifo_priority=1000))\n"
        "assert 'this machine offers' in took['affinity'], took\n"
        "assert took['fifo'].startswith('priority 1000: '), took\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

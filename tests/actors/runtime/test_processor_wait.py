"""The kernel's count of a thread's wait for a processor."""

from __future__ import annotations

import os
import time

import pytest

from holdfast.actors.runtime import processor_wait
from holdfast.actors.runtime.processor_wait import ProcessorWait
from holdfast.tests.busy_process import busy_process
from holdfast.tests.waiting import wait_until


def test_a_thread_that_shares_its_core_with_a_busy_process_waits_for_it() -> None:
    """Each call gives what was added since the one before."""
    before = os.sched_getaffinity(0)
    core = min(before)
    wait = ProcessorWait()
    with busy_process(core):
        try:
            os.sched_setaffinity(0, {core})
            # It yields between two looks, as a loop does at its tick.
            wait_until(lambda: wait.take() > 1_000_000, "a wait of a millisecond", every_s=0)
            wait_until(lambda: wait.take() < 1_000_000, "a look without one", every_s=0)
        finally:
            os.sched_setaffinity(0, before)
            wait.close()


def test_the_time_that_a_thread_sleeps_by_itself_is_no_wait_for_a_processor() -> None:
    """On a busy machine too, where it may wait as well."""
    wait = ProcessorWait()
    began_ns = time.monotonic_ns()
    time.sleep(0.2)
    waited_ns = wait.take()
    assert 0 <= waited_ns <= time.monotonic_ns() - began_ns - 200_000_000
    wait.close()


def test_a_process_that_shares_its_core_with_another_one_waits_for_it_until_it_has_ended() -> None:
    """Counted from without; one that has ended adds nothing."""
    core = min(os.sched_getaffinity(0))
    with busy_process(core) as pid, busy_process(core):
        wait = ProcessorWait(pid)
        wait_until(lambda: wait.take() > 1_000_000, "a wait of a millisecond", every_s=0.02)
    wait.take()
    assert wait.take() == 0
    wait.close()


def test_a_kernel_that_does_not_count_gives_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """`take` returns 0, and the loop runs."""
    monkeypatch.setattr(processor_wait, "_COUNTS", "/nonexistent/{}/schedstat")
    wait = ProcessorWait()
    assert wait.take() == 0
    wait.close()

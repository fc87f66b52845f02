"""A process that gets no processor, told from one that hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from holdfast.actors.supervision.starvation import Starvation
from holdfast.tests.busy_process import busy_process
from holdfast.tests.waiting import wait_until

IDLE = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def pids() -> Iterator[dict[str, int]]:
    """Two busy processes on one core, and an idle one."""
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, "-S", "-c", IDLE]
    with (
        busy_process(core) as busy,
        busy_process(core) as other,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle,
    ):
        assert idle.stdout is not None
        idle.stdout.readline()
        yield {"busy": busy, "other": other, "idle": idle.pid}


def test_a_process_that_waits_for_a_processor_is_told_from_one_that_does_nothing(
    pids: dict[str, int],
) -> None:
    """Its time counts from the first call that asks for it."""
    starvation = Starvation()
    waited = dict.fromkeys(pids, 0.0)

    def some() -> bool:
        for name, seconds in starvation.take(pids).items():
            waited[name] += seconds
        return waited["busy"] > 0.2

    wait_until(some, "a busy process to have waited for 0.2 s", every_s=0.02)
    assert waited["idle"] < 0.05
    left_out = {"busy": pids["busy"]}
    starvation.take({})
    assert starvation.take(left_out)["busy"] < 0.05, "that of the calls that did not ask for it"
    starvation.close()

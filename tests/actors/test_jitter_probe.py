"""The witness in a thread of the test: the pauses that it publishes."""

from __future__ import annotations

import threading
import time

import pytest

from holdfast.actors.control.missed_ticks import pauses_in
from holdfast.actors.jitter_probe import JitterProbeActor
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.tests.actors.simulated_driver import SEGMENTS, running
from holdfast.tests.waiting import wait_until
from holdfast.transport.seqlock import Seqlock


def test_the_witness_publishes_the_pauses_that_it_overslept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pause of its own process stands for one of the machine: both make it oversleep."""
    boot, link, supervisor = boot_in_memory(
        "witness", "witness", {"segment": "witness/pauses", "rate_hz": 50.0}, SEGMENTS
    )
    actor = JitterProbeActor(boot, link)
    sleep = time.sleep
    begun: list[int] = []

    def oversleep(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread() and not begun:
            begun.append(time.monotonic_ns())
            seconds += 0.03
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", oversleep)
    with running(actor, lambda: supervisor.command("stop")):
        register = Seqlock(boot.memory["witness/pauses"], writable=False)

        def provoked() -> tuple[int, int] | None:
            # The machine may pause by itself before.
            found = pauses_in(register.read())
            return next((p for p in found if begun and p[1] > begun[0] + 25_000_000), None)

        start_ns, end_ns = wait_until(provoked)
    assert end_ns - start_ns >= 25_000_000
    assert begun[0] - 20_000_000 <= start_ns <= end_ns <= time.monotonic_ns()
    assert pauses_in(None) == []
    supervisor.close()
    link.close()

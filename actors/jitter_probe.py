"""`JitterProbeActor`, the witness: a bare sleeping loop at the fleet's fastest control rate.

Shared machines pause by themselves. The witness only sleeps to the next grid point, in a process of
its own, so where it oversleeps by `PAUSE_OF_PERIOD` or more, the control loop is not the cause: it
publishes those intervals, and a control loop that missed a tick during one of them counts it as the
machine's. It does not find out why the machine paused: another process that takes the processor
looks the same.

Payload of its register: native int64 pairs (start_ns, end_ns), monotonic, the newest last, `KEPT`
at most. `start_ns` is when it should have woken up, `end_ns` when it did.
"""

from __future__ import annotations

import select
import struct
import time
from collections import deque

import numpy as np

from ..transport.seqlock import Seqlock
from .runtime.actor import Actor
from .runtime.configs import JitterProbeConfig

PAUSE_OF_PERIOD = 0.25
"""The part of a period that counts as a pause. A pause long enough to cost a control loop one whole
period can catch the witness in the middle of its own sleep and show there as a fraction of that."""

KEPT = 64
WINDOW = 1024
_REPORT_S = 0.5


class JitterProbeActor(Actor):
    """The process of the witness. Its board reports rate, ticks, pauses and oversleep."""

    kind = "witness"
    Config = JitterProbeConfig

    def setup(self) -> None:
        self._register = Seqlock.owned(self.segment(self.config.segment))
        self._pauses: deque[tuple[int, int]] = deque(maxlen=KEPT)
        self._oversleep_us: deque[float] = deque(maxlen=WINDOW)
        self._count = 0
        self._ticks = 0
        self._worst_us = 0.0

    def run(self) -> None:
        self.ready()
        period_ns = round(1e9 / self.config.rate_hz)
        deadline_ns = time.monotonic_ns() + period_ns
        report_ns = 0
        while not self.stopping:
            # Sleeping in poll makes a command, and the supervisor's end, wake the loop too.
            self._sleep_until(deadline_ns)
            now_ns = time.monotonic_ns()
            self._note(deadline_ns, now_ns, period_ns)
            self.board.progress()
            if now_ns >= report_ns:
                self._report()
                report_ns = now_ns + round(_REPORT_S * 1e9)
            deadline_ns += period_ns * (1 + max(0, now_ns - deadline_ns) // period_ns)

    def _sleep_until(self, deadline_ns: int) -> None:
        """Poll counts whole milliseconds, so it covers all but the last one or two."""
        coarse_ms = max(0, (deadline_ns - time.monotonic_ns()) // 1_000_000 - 1)
        if select.select([self.link], [], [], coarse_ms / 1e3)[0]:
            self.refuse_commands()
        rest_ns = deadline_ns - time.monotonic_ns()
        if rest_ns > 0:
            time.sleep(rest_ns / 1e9)

    def _note(self, deadline_ns: int, now_ns: int, period_ns: int) -> None:
        late_ns = max(0, now_ns - deadline_ns)
        self._ticks += 1
        self._oversleep_us.append(late_ns / 1e3)
        self._worst_us = max(self._worst_us, late_ns / 1e3)
        if late_ns < PAUSE_OF_PERIOD * period_ns:
            return
        self._count += 1
        self._pauses.append((deadline_ns, now_ns))
        flat = [edge for pause in self._pauses for edge in pause]
        self._register.write(struct.pack(f"={len(flat)}q", *flat))

    def _report(self) -> None:
        p50, p99 = np.percentile(self._oversleep_us, (50, 99)) if self._oversleep_us else (0, 0)
        self.board.report(
            {
                "rate_hz": self.config.rate_hz,
                "ticks": self._ticks,
                "pauses": self._count,
                "oversleep_us": {"p50": float(p50), "p99": float(p99), "max": self._worst_us},
            }
        )

"""The witness: a bare sleeping loop at the fleet's fastest control rate, in a process of its own.

Shared machines pause by themselves. The witness does nothing but sleep to the next grid point, so
where it oversleeps by `PAUSE_OF_PERIOD` or more, nothing that Holdfast does in the control loop is
to blame: it publishes those intervals, and a control loop that missed a tick while one of them
lasted counts it as the machine's. It does not say why the machine paused: another process that
takes the processor looks the same.

Payload of its register: native int64 pairs (start_ns, end_ns), monotonic, the newest last, `KEPT`
at most. `start` is when it should have woken up, `end` when it did.
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
    """See the module."""

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
        deadline = time.monotonic_ns() + period_ns
        report_at = 0
        while not self.stopping:
            # Sleeping in poll makes a command, and the supervisor's end, wake the loop too.
            self._sleep_until(deadline)
            now = time.monotonic_ns()
            self._note(deadline, now, period_ns)
            self.board.progress()
            if now >= report_at:
                self._report()
                report_at = now + round(_REPORT_S * 1e9)
            deadline += period_ns * (1 + max(0, now - deadline) // period_ns)

    def _sleep_until(self, deadline: int) -> None:
        """Poll counts whole milliseconds, so it covers all but the last one or two."""
        coarse_ms = max(0, (deadline - time.monotonic_ns()) // 1_000_000 - 1)
        if select.select([self.link], [], [], coarse_ms / 1e3)[0]:
            self.refuse_commands()
        rest = deadline - time.monotonic_ns()
        if rest > 0:
            time.sleep(rest / 1e9)

    def _note(self, deadline: int, now: int, period_ns: int) -> None:
        late = max(0, now - deadline)
        self._ticks += 1
        self._oversleep_us.append(late / 1e3)
        self._worst_us = max(self._worst_us, late / 1e3)
        if late < PAUSE_OF_PERIOD * period_ns:
            return
        self._count += 1
        self._pauses.append((deadline, now))
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

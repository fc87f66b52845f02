"""A replica's metrics: outcomes by reason, durations, the load of its device; and the audit, one
line a request.

Percentiles are over the last `WINDOW` values; counts are totals that the next incarnation
continues.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

from ...policy.base import Chunk, Observation
from ...transport.header import Header
from ..runtime.audit import Audit
from .demand_meter import DemandMeter
from .served_session import Cost, message_of, reason_of

WINDOW = 512


class Percentiles:
    """Percentiles of the last `WINDOW` values."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=WINDOW)

    def add(self, value: float) -> None:
        """Add a value."""
        self._values.append(value)

    def summary(self) -> dict[str, float]:
        """`{p50, p99}`, rounded to 0.01; empty before the first value."""
        if not self._values:
            return {}
        p50, p99 = np.percentile(self._values, (50, 99))
        return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


class Busyness:
    """The share of the last `window_ns` in which the device worked, 0 to 1."""

    def __init__(self, window_ns: int = 5_000_000_000) -> None:
        self._window_ns = window_ns
        self._spans: deque[tuple[int, int]] = deque()
        self._worked_ns = 0
        """The sum of the spans, which are thousands, because each reply carries the load."""

    def add(self, start_ns: int, end_ns: int) -> None:
        """Add a span of work; spans come in order and do not overlap."""
        self._spans.append((start_ns, end_ns))
        self._worked_ns += end_ns - start_ns
        self._trim(end_ns)

    def load(self, now_ns: int) -> float:
        """The load at `now_ns`, which is no earlier than the end of the last span."""
        self._trim(now_ns)
        outside_ns = max(0, now_ns - self._window_ns - self._spans[0][0]) if self._spans else 0
        return (self._worked_ns - outside_ns) / self._window_ns

    def _trim(self, now_ns: int) -> None:
        while self._spans and self._spans[0][1] <= now_ns - self._window_ns:
            start_ns, end_ns = self._spans.popleft()
            self._worked_ns -= end_ns - start_ns


class Meters:
    """The metrics of one replica."""

    def __init__(self, previous: dict[str, int] | None = None) -> None:
        self.counts: Counter[str] = Counter(previous or {})
        """Outcomes: `served`, `superseded`, `expired`, `rejected:<reason>`, `error:<reason>`..."""
        self.batches: Counter[int] = Counter()
        """Batches by size, of this incarnation."""
        self.inference_ms = Percentiles()
        self.wait_ms = Percentiles()
        self.demand = DemandMeter()
        self.busy = Busyness()

    def ran(self, batch: int, start_ns: int, end_ns: int) -> None:
        """Count a batch of this size that occupied the device between these instants."""
        self.batches[batch] += 1
        self.inference_ms.add((end_ns - start_ns) / 1e6)
        self.busy.add(start_ns, end_ns)


class Ledger:
    """Counts outcomes in `meters` and writes lines to `audit`, which join the robot's own lines by
    `(session, seq)`. Only these lines hold wall-clock time."""

    def __init__(self, meters: Meters, audit: Audit) -> None:
        self._meters, self._audit = meters, audit

    def answered(
        self,
        session: int,
        request: Header,
        seen: Observation,
        result: Chunk | Exception,
        cost: Cost,
        slack_s: float,
        late: bool,
        tags: Mapping[str, str],
        answer_s: float,
        direct: bool = False,
    ) -> None:
        """Count a request that the device took; `late`: its deadline had passed; `direct`: it came
        straight from the robot."""
        failed = isinstance(result, Exception)
        outcome = _outcome(result)
        self._meters.counts[outcome] += 1
        self._meters.counts["late"] += late and not failed
        self._meters.wait_ms.add(cost.queue_s * 1e3)
        self._meters.demand.waited(cost.queue_s, time.monotonic_ns())
        self._meters.demand.misses += late and not failed
        self._audit.line(
            at=time.time(),
            session=session,
            seq=request.seq,
            episode=request.episode,
            outcome=outcome,
            error=message_of(result) if isinstance(result, Exception) else None,
            queue_ms=round(cost.queue_s * 1e3, 3),
            inference_ms=round(cost.inference_s * 1e3, 3),
            answer_ms=round(answer_s * 1e3, 3),
            batch=cost.batch,
            slack_ms=round(slack_s * 1e3, 3),
            late=late,
            superseded=cost.superseded,
            delay_steps=seen.delay_steps,
            prefix_steps=0 if seen.prefix is None else len(seen.prefix),
            task=seen.task,
            seed=seen.seed,
            clipped=result.clipped if isinstance(result, Chunk) else 0,
            tags=tags,
            direct=direct,
        )

    def refused(self, session: int, request: Header, error: Exception) -> None:
        """Count a request that the device did not take."""
        outcome = _outcome(error)
        self._meters.counts[outcome] += 1
        self._audit.line(
            at=time.time(),
            session=session,
            seq=request.seq,
            episode=request.episode,
            outcome=outcome,
            error=message_of(error),
        )


def _outcome(result: Chunk | Exception) -> str:
    return f"error:{reason_of(result)}" if isinstance(result, Exception) else "served"

"""What became of each request: counted, and written down, one line each."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ...policy.base import Chunk, Observation
from ...transport.header import Header
from ..runtime.audit import Audit
from .meters import Meters
from .served_session import Cost, reason_of, words_of


class Ledger:
    """Counts outcomes in `meters` and writes lines to `audit`, joined with the robot's own lines by
    `(session, seq)`. Wall-clock time appears here only."""

    def __init__(self, meters: Meters, audit: Audit) -> None:
        self._meters, self._audit = meters, audit

    def answered(
        self,
        session: str,
        request: Header,
        seen: Observation,
        result: Chunk | Exception,
        cost: Cost,
        slack_s: float,
        late: bool,
        tags: Mapping[str, str],
    ) -> None:
        """The device gave a chunk, or said why not; `late`: after the robot's playback ended."""
        failed = isinstance(result, Exception)
        outcome = _outcome(result)
        self._meters.counts[outcome] += 1
        self._meters.counts["late"] += late and not failed
        self._meters.wait_ms.add(cost.queue_s * 1e3)
        self._audit.line(
            at=time.time(),
            session=session,
            seq=request.seq,
            episode=request.episode,
            outcome=outcome,
            error=words_of(result) if isinstance(result, Exception) else None,
            queue_ms=round(cost.queue_s * 1e3, 3),
            inference_ms=round(cost.inference_s * 1e3, 3),
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
        )

    def refused(self, session: str, request: Header, error: Exception) -> None:
        """The request never came to the device."""
        outcome = _outcome(error)
        self._meters.counts[outcome] += 1
        self._audit.line(
            at=time.time(),
            session=session,
            seq=request.seq,
            episode=request.episode,
            outcome=outcome,
            error=words_of(error),
        )


def _outcome(result: Chunk | Exception) -> str:
    return f"error:{reason_of(result)}" if isinstance(result, Exception) else "served"

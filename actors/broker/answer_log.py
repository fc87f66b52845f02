"""`AnswerLog`: the requests that were answered, on disk, where traces are made of them."""

from __future__ import annotations

import time
from pathlib import Path

from ..runtime.audit import Audit
from ..runtime.configs import BrokerConfig
from .effects import Answered


class AnswerLog:
    """Takes what the routing core collects, and writes a line for each, which joins the other
    audits' lines of its `(session, seq)`."""

    def __init__(self, config: BrokerConfig, rundir: Path) -> None:
        path = Path(config.evidence or rundir) / "audit" / "broker.jsonl"
        self._audit = Audit(path, config.audit_bytes)

    def keep(self, answers: list[Answered], now_ns: int) -> None:
        """Add `answers`, and write what has waited long enough."""
        epoch_s = time.time() - now_ns / 1e9
        for each in answers:
            self._audit.line(
                at=epoch_s + each.at_ns / 1e9,
                robot=each.robot,
                session=int(each.session) if each.session.isdecimal() else None,
                replica=each.replica,
                seq=each.header.seq,
                episode=each.header.episode,
                epoch=each.header.epoch,
                outcome=each.outcome,
                held_ms=round(each.held_ns / 1e6, 3),
                failed=each.failed,
            )
        self._audit.keep(now_ns)

    def close(self) -> None:
        self._audit.close()

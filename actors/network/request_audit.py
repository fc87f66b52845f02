"""`RequestAudit`: one audit line per request on the robot's side, to be joined with the replica's
by `(session, seq)`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ...transport.bodies import Accept
from ...transport.header import Header, Kind
from ..runtime.audit import Audit
from ..runtime.configs import NetworkConfig


class _Asked(msgspec.Struct, frozen=True):
    header: Header
    session: int
    ages_s: dict[str, float]
    sent_ns: int


class RequestAudit:
    """The requests of one network actor. One is in flight at a time: a newer one ends it.

    `sent` and `received` count requests and replies.
    """

    def __init__(self, config: NetworkConfig, rundir: Path) -> None:
        self._robot = config.robot
        path = Path(config.evidence or rundir) / "audit" / f"{config.robot}.network.jsonl"
        self._audit = Audit(path, config.audit_bytes)
        self._pending: _Asked | None = None
        self.sent = 0
        self.received = 0

    def asked(self, header: Header, session: int, ages_s: Mapping[str, float], now_ns: int) -> None:
        """A request of that `session` was sent to the broker; `ages_s` of its images by camera."""
        if self._pending is not None:
            self._line(self._pending, "unanswered", None, now_ns)
        self._pending = _Asked(header, session, dict(ages_s), now_ns)
        self.sent += 1

    def answered(self, header: Header, terms: Accept | None, now_ns: int) -> None:
        """A reply or an error arrived; late ones of earlier requests are not recorded."""
        self.received += header.kind is Kind.REPLY
        asked = self._pending
        if asked is not None and asked.header.seq == header.seq:
            self._pending = None
            self._line(asked, "reply" if header.kind is Kind.REPLY else "error", terms, now_ns)

    @property
    def pending(self) -> Header | None:
        """The header of the request that awaits its answer."""
        return self._pending.header if self._pending is not None else None

    @property
    def lost(self) -> int:
        """How many lines the disk did not take."""
        return self._audit.lost

    def keep(self, now_ns: int) -> None:
        """Let time pass: write the lines that have waited long enough."""
        self._audit.keep(now_ns)

    def close(self) -> None:
        self._audit.close()

    def _line(self, asked: _Asked, outcome: str, terms: Accept | None, now_ns: int) -> None:
        self._audit.line(
            at=time.time(),
            robot=self._robot,
            session=asked.session,
            replica=terms.replica if terms else None,
            seq=asked.header.seq,
            episode=asked.header.episode,
            epoch=asked.header.epoch,
            outcome=outcome,
            latency_s=(now_ns - asked.sent_ns) / 1e9,
            frame_age_s=asked.ages_s,
        )

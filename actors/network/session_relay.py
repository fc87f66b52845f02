"""`SessionRelay`: which messages pass between a control actor and the broker. Pure: headers and the
time in, decisions out.

It is stateless beyond the present session: control says which epoch to open and what to ask, and a
new incarnation, which knows no session, says so, upon which control opens the next epoch.
Guarantees that nothing of an earlier epoch passes in either direction, that only an answer to an
open handshake opens a session, and that a silent broker is reported to control once.

A session belongs to its newest claim, by control's (incarnation, epoch). An older claim, or an
epoch more than `MAX_JUMP` beyond the present one, is refused while the holder is heard of; once the
holder has been silent for `TAKEOVER_NS` any claim replaces it, so that no single message keeps
control out.

It does not retry, time requests out, or judge replies: the fail-safe does, in control.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...transport.header import Header, Kind

TAKEOVER_NS = 1_500_000_000
"""Seven of control's heartbeats: how long a holder must be silent before any claim replaces it."""
MAX_JUMP = 1 << 16
"""Epochs count connections: a gap wider than this is not one of lost messages."""


class Phase(StrEnum):
    """How far a robot's session is."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"


class Disposition(StrEnum):
    """What to do with a message: pass it on, drop it (counted by reason), refuse a handshake, or
    answer that the session is lost."""

    FORWARD = "forward"
    DROP = "drop"
    REFUSE = "refuse"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Decision:
    """A disposition; `reason` is a slug to count by, `message` for people."""

    action: Disposition
    reason: str = ""
    message: str = ""


FORWARD = Decision(Disposition.FORWARD)


class SessionRelay:
    """The relay of one robot; instants are monotonic ns of this host.

    `broker_lost_after_ns`: after how much silence of the broker its session is lost.
    """

    def __init__(self, broker_lost_after_ns: int) -> None:
        self._lost_after_ns = broker_lost_after_ns
        self.phase = Phase.CLOSED
        self.epoch = 0
        self._control: int | None = None
        """The incarnation of control that holds the session; None before the first."""
        self._control_heard_ns = 0
        self._heard_ns = 0

    def from_control(self, header: Header, incarnation: int, now_ns: int) -> Decision:
        """A message of the control actor's `incarnation`, on its way to the broker."""
        if header.kind is Kind.OPEN:
            return self._claim(header.epoch, incarnation, now_ns)
        older = self._control is not None and incarnation < self._control
        if older or (incarnation == self._control and header.epoch < self.epoch):
            return _drop("stale-epoch")
        if incarnation != self._control or header.epoch > self.epoch:
            # Control claims a session that this process never saw.
            return _no_session(header)
        self._control_heard_ns = now_ns
        if self.phase is Phase.CLOSED:
            return _no_session(header)
        if header.kind is Kind.HEARTBEAT:
            return _drop("heartbeat")
        if header.kind is Kind.CLOSE:
            self.phase = Phase.CLOSED
            return FORWARD
        if header.kind not in (Kind.REQUEST, Kind.RESET):
            return _drop("unexpected-kind")
        return FORWARD if self.phase is Phase.OPEN else _drop("not-open")

    def from_broker(self, header: Header, event: str, now_ns: int) -> Decision:
        """A message of the broker, on its way to control; `event` is what an EVENT says."""
        self._heard_ns = now_ns
        if header.kind is Kind.HEARTBEAT:
            return _drop("heartbeat")
        if event == "available":
            # For a robot that waits, which has no session.
            return FORWARD
        if header.epoch != self.epoch or self.phase is Phase.CLOSED:
            return _drop("stale-epoch")
        if header.kind is Kind.EVENT:
            if event == "lost":
                self.phase = Phase.CLOSED
            return FORWARD
        if header.kind in (Kind.ACCEPT, Kind.REJECT):
            if self.phase is not Phase.OPENING:
                return _drop("unexpected-kind")
            self.phase = Phase.OPEN if header.kind is Kind.ACCEPT else Phase.CLOSED
            return FORWARD
        if header.kind not in (Kind.REPLY, Kind.ERROR):
            return _drop("unexpected-kind")
        return FORWARD if self.phase is Phase.OPEN else _drop("not-open")

    def from_replica(self, header: Header) -> Decision:
        """A message that came straight from the replica that serves the session."""
        if header.epoch != self.epoch:
            return _drop("stale-epoch")
        if header.kind not in (Kind.REPLY, Kind.ERROR, Kind.EVENT):
            return _drop("unexpected-kind")
        return FORWARD if self.phase is Phase.OPEN else _drop("not-open")

    def unreachable(self) -> Decision:
        """The OPEN could not be sent to the broker."""
        self.phase = Phase.CLOSED
        return Decision(Disposition.LOST, "unreachable", "the broker is not reachable")

    def tick(self, now_ns: int) -> Decision | None:
        """LOST, once, when the broker has been silent for too long; else None."""
        if self.phase is Phase.CLOSED or now_ns - self._heard_ns <= self._lost_after_ns:
            return None
        self.phase = Phase.CLOSED
        silence_s = (now_ns - self._heard_ns) / 1e9
        words = f"the broker has been silent for {silence_s:.1f} s"
        return Decision(Disposition.LOST, "broker-silent", words)

    def _claim(self, epoch: int, incarnation: int, now_ns: int) -> Decision:
        held = self._control
        if held is not None and now_ns - self._control_heard_ns < TAKEOVER_NS:
            claims = f"epoch {epoch} of control's incarnation {incarnation} asks for a session"
            holds = f"epoch {self.epoch} of incarnation {held} holds it"
            if (incarnation, epoch) < (held, self.epoch):
                return Decision(
                    Disposition.REFUSE, "stale-epoch", f"{claims}; {holds}, which is newer"
                )
            if epoch > self.epoch + MAX_JUMP:
                words = f"{claims}; {holds}, and epochs go up one by one"
                return Decision(Disposition.REFUSE, "epoch-jump", words)
        self.phase, self.epoch, self._control = Phase.OPENING, epoch, incarnation
        self._heard_ns = self._control_heard_ns = now_ns
        return FORWARD


def _no_session(header: Header) -> Decision:
    if header.kind is Kind.CLOSE:
        return _drop("no-session")
    words = "the network actor holds no session (it was restarted)"
    return Decision(Disposition.LOST, "no-session", words)


def _drop(reason: str) -> Decision:
    return Decision(Disposition.DROP, reason)

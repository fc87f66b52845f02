"""One robot's connection to its service, as its network actor knows it. Pure: headers and `now` in,
verdicts out.

The network actor is a servant without memory: control says which epoch is to be opened and what is
to be asked, and a new incarnation that knows no session says so, upon which control opens the next
epoch. The machine guarantees that nothing of an earlier epoch passes in either direction, that
nothing but an answer to an open handshake opens a session, and that a broker that falls silent is
told to control once.

It does not retry, time requests out, or judge replies: that is the fail-safe's, in control.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...transport.header import Header, Kind


class Phase(StrEnum):
    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"


class Action(StrEnum):
    """What to do with a message: pass it on, drop it (counted by reason), or tell control that its
    session is lost."""

    FORWARD = "forward"
    DROP = "drop"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Verdict:
    action: Action
    reason: str = ""


FORWARD = Verdict(Action.FORWARD)


class Session:
    """See the module. Instants are monotonic ns of this host."""

    def __init__(self, broker_lost_after_ns: int) -> None:
        self._lost_after_ns = broker_lost_after_ns
        self.phase = Phase.CLOSED
        self.epoch = 0
        self._heard_ns = 0

    def from_control(self, header: Header, now: int) -> Verdict:
        """A message of the control actor, on its way to the broker."""
        if header.kind is Kind.OPEN:
            if header.epoch < self.epoch:
                return _drop("stale-epoch")
            self.phase, self.epoch, self._heard_ns = Phase.OPENING, header.epoch, now
            return FORWARD
        if header.epoch < self.epoch:
            return _drop("stale-epoch")
        if header.epoch > self.epoch or self.phase is Phase.CLOSED:
            # Control believes in a session that this process never saw, or has given up.
            if header.kind is Kind.CLOSE:
                return _drop("no-session")
            return Verdict(Action.LOST, "the network actor holds no session (it was restarted)")
        if header.kind is Kind.HEARTBEAT:
            return _drop("heartbeat")
        if header.kind is Kind.CLOSE:
            self.phase = Phase.CLOSED
            return FORWARD
        if header.kind not in (Kind.REQUEST, Kind.RESET):
            return _drop("unexpected-kind")
        return FORWARD if self.phase is Phase.OPEN else _drop("not-open")

    def from_broker(self, header: Header, lost: bool, now: int) -> Verdict:
        """A message of the broker, on its way to control; `lost` says that it is such an event."""
        self._heard_ns = now
        if header.kind is Kind.HEARTBEAT:
            return _drop("heartbeat")
        if header.epoch != self.epoch or self.phase is Phase.CLOSED:
            return _drop("stale-epoch")
        if header.kind is Kind.EVENT:
            if lost:
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

    def unreachable(self) -> Verdict:
        """The broker took no message: nobody is there to take it."""
        self.phase = Phase.CLOSED
        return Verdict(Action.LOST, "the broker is not reachable")

    def tick(self, now: int) -> Verdict | None:
        """Whether the broker has been silent for too long, once; None as long as all is well."""
        if self.phase is Phase.CLOSED or now - self._heard_ns <= self._lost_after_ns:
            return None
        self.phase = Phase.CLOSED
        silence_s = (now - self._heard_ns) / 1e9
        return Verdict(Action.LOST, f"the broker has been silent for {silence_s:.1f} s")


def _drop(reason: str) -> Verdict:
    return Verdict(Action.DROP, reason)

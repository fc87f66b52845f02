"""`AnswerRelay`: what brokers and the replica say, on its way to control.

Guarantees that control gets one answer to a request, by whichever way it comes first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from logging import Logger

import msgspec

from ...transport import bodies, messages
from ...transport.arrays import Buffer
from ...transport.bodies import Accept
from ...transport.header import Header, Kind
from .broker_paths import BrokerPaths
from .control_link import ControlLink
from .request_audit import RequestAudit
from .request_images import RequestImages
from .session_moves import Consumed, SessionMoves
from .session_relay import Decision, Disposition, SessionRelay


class AnswerRelay:
    """Of one network actor. What is not passed on is counted in `dropped`; `bytes_in` counts what
    came. `own_actions`: the robot's own names of the policy's actions; `clock`: monotonic ns."""

    def __init__(
        self,
        brokers: BrokerPaths,
        relay: SessionRelay,
        session: SessionMoves,
        control: ControlLink,
        images: RequestImages,
        audit: RequestAudit,
        action_names: tuple[str, ...],
        dropped: Counter[str],
        log: Logger,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._clock = clock
        self._brokers, self._relay, self._session = brokers, relay, session
        self._control, self._images, self._audit = control, images, audit
        self._action_names, self._dropped, self._log = action_names, dropped, log
        self.own_actions: tuple[str, ...] = ()
        self.bytes_in = 0

    def from_broker(self, broker: int, frames: list[Buffer]) -> None:
        """A message of the `broker` of that number. Raises WireError."""
        header, now_ns = Header.unpack(frames[0]), self._clock()
        self._brokers.heard(broker, header, now_ns)
        self.bytes_in += sum(len(frame) for frame in frames)
        event = messages.decode(frames).body.what if header.kind is Kind.EVENT else ""
        if broker == self._brokers.route.current:
            consumed = self._session.consume(header, frames, event, now_ns)
            if consumed is not None:
                self._moved(consumed)
                return
        elif header.kind is not Kind.REPLY and event != "available":
            return  # a broker that the robot has left, or may go to
        decision = self._relay.from_broker(header, event, now_ns)
        if decision.action is Disposition.DROP:
            self.count(decision)
        elif header.kind in (Kind.REPLY, Kind.ERROR):
            self._session.answered_by_broker(header)
            self._answer(header, frames)
        elif header.kind is Kind.ACCEPT:
            self._control.send(self._accepted(messages.decode(frames)))
        else:
            self._control.send(frames)

    def from_replica(self, frames: list[Buffer]) -> None:
        """A message that came straight from the replica. Raises WireError."""
        header = Header.unpack(frames[0])
        self.bytes_in += sum(len(frame) for frame in frames)
        decision = self._relay.from_replica(header)
        if decision.action is Disposition.DROP:
            self.count(decision)
        elif header.kind is Kind.EVENT:
            self._session.lost_at_replica(self._clock())
        elif self._answer(header, frames):
            self._session.answered_by_replica(header)

    def failed(self, about: Header, error: bodies.Error) -> None:
        """The request `about` has to be made anew."""
        self._control.reply(self._control.identity, about, error)
        self._audit.answered(about._replace(kind=Kind.ERROR), None, self._clock())

    def count(self, decision: Decision) -> None:
        """Count a message that is dropped."""
        if decision.reason != "heartbeat":
            self._dropped[decision.reason] += 1

    def _answer(self, header: Header, frames: list[Buffer]) -> bool:
        """Pass on the answer to the request that awaits one; False if that one does not."""
        asked = self._audit.pending
        if asked is None or asked.seq != header.seq:
            # By another broker, or it overtook a doubt about it.
            if not self._session.has_two_answers(header):
                self._dropped["answered"] += 1
            return False
        if header.kind is Kind.REPLY and self._images.oldest_ns:
            frames = self._with_age(header, frames)
        arrived_ns = self._clock()
        self._control.send(frames)  # before the audit: control waits for it
        self._session.answered(arrived_ns)
        self._audit.answered(header, self._session.terms, arrived_ns)
        self._images.answered(header, frames, arrived_ns)
        return True

    def _moved(self, consumed: Consumed) -> None:
        """A broker answered a session that was to go on there."""
        if consumed.lost:
            self._log.warning("session lost: %s", consumed.lost)
            self._control.send_lost(self._control.identity, self._relay.epoch, consumed.lost)
        if consumed.failed is not None:
            self.failed(*consumed.failed)

    def _accepted(self, message: messages.Message[Accept]) -> list[Buffer]:
        """The terms for control, with its own action names where they are equal."""
        terms = message.body
        if terms.action_names == self._action_names:
            terms = msgspec.structs.replace(terms, action_names=self.own_actions)
        return messages.encode(message.header, terms, message.blobs)

    def _with_age(self, header: Header, frames: list[Buffer]) -> list[Buffer]:
        message: messages.Message[bodies.Reply] = messages.decode(frames, header=header)
        body = self._images.with_age(header, message.body)
        return messages.encode(header, body, message.blobs)

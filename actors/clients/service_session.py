"""`ServiceSession`: one client's session with a service, over all its reconnections. Pure: messages
and instants come from the caller, and what is to be sent is returned to it.

Guarantees: one request at a time, answered once; a request whose session is lost is asked again in
the next one; a service that serves another model than it began with is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from ...errors import NotReadyError, PolicyLostError, WireError
from ...transport import messages
from ...transport.arrays import Buffer
from ...transport.bodies import (
    Accept,
    Close,
    Error,
    Event,
    Heartbeat,
    Open,
    Reject,
    Reply,
    Request,
    Reset,
    Vitals,
)
from ...transport.header import Header, Kind
from ...transport.messages import Message
from ...transport.session_id import new_session_id

OPEN_TIMEOUT_NS = 2_000_000_000
BEAT_NS = 500_000_000
RETRY_NS = 50_000_000
"""After a message could not be sent."""


class Standing(StrEnum):
    """How far the session is."""

    NONE = "none"
    ASKED = "asked"
    HELD = "held"


class ServiceSession:
    """The session that `opening` asks for. `epochs` gives a higher number for each handshake.

    Attributes:
        standing: whether there is a session.
        terms: those of the last handshake that was accepted.
        why: why there is no session, or none yet.
    """

    def __init__(self, opening: Open, epochs: Iterator[int]) -> None:
        self._opening, self._epochs = opening, epochs
        self.standing = Standing.NONE
        self.terms: Accept | None = None
        self.why = ""
        self.answered = 0
        self._epoch = self._episode = self._seq = self._turns = 0
        self._request: tuple[Request, list[Buffer]] | None = None
        self._is_sent = False
        self._begins = True
        self._opened_ns = self._beat_ns = self._pause_ns = 0

    def ask(self, body: Request, blobs: list[Buffer]) -> None:
        """A request is to be answered, in place of any earlier one."""
        self._seq += 1
        self._request, self._is_sent = (body, blobs), False

    def withdraw(self) -> None:
        """The request is not awaited any more."""
        self._request = None

    def new_episode(self) -> None:
        """What follows has nothing to do with what came before."""
        self._episode += 1
        self._begins = True

    def due(self, now_ns: int, vitals: Vitals) -> list[Buffer] | None:
        """The next message to send now, if any; call it until it returns None. Where sending fails
        call `unsent`."""
        if self.standing is Standing.ASKED and now_ns - self._opened_ns > OPEN_TIMEOUT_NS:
            self.standing = Standing.NONE
            self.why = "the handshake was not answered"
        if now_ns >= self._pause_ns and self._request is not None:
            if self.standing is Standing.NONE:
                return self._open(now_ns)
            if self.standing is Standing.HELD and not self._is_sent:
                return self._ask(*self._request)
        if now_ns >= self._beat_ns:
            self._beat_ns = now_ns + BEAT_NS
            self._turns += 1
            held = self.standing is not Standing.NONE
            header = Header(Kind.HEARTBEAT, epoch=self._epoch if held else 0, token=now_ns)
            return messages.encode(header, Heartbeat(progress=self._turns, vitals=vitals))
        return None

    def unsent(self, why: str, now_ns: int) -> None:
        """The message that `due` returned last could not be sent."""
        if self.standing is Standing.ASKED:
            self.standing = Standing.NONE
        self._is_sent = False
        self.why = why or "the broker takes no message"
        self._pause_ns = now_ns + RETRY_NS

    def lost(self, why: str) -> None:
        """The session is gone; the request is asked again in the next one."""
        self.standing, self._is_sent, self.why = Standing.NONE, False, why

    def receive(self, frames: list[Buffer], now_ns: int) -> Message[Reply] | None:
        """Handle a message of the broker; the reply, if it is that of the request.

        Raises PolicyLostError when asking again is useless, WireError when the request failed or
        the message cannot be read.
        """
        message = messages.decode(frames)
        header, body = message.header, message.body
        if isinstance(body, Event):
            self._event(body, header.epoch)
        elif header.epoch != self._epoch:
            return None
        elif isinstance(body, Accept):
            self._accepted(body)
        elif isinstance(body, Reject):
            self._rejected(body, now_ns)
        elif header.seq == self._seq and self._request is not None:
            if isinstance(body, Error):
                self._request = None
                raise WireError(body.reason, body.message)
            if isinstance(body, Reply):
                self._request, self._begins = None, False
                self.answered += 1
                return message
        return None

    def close(self, reason: str) -> list[Buffer] | None:
        """The message that ends the session, if there is one."""
        if self.standing is Standing.NONE:
            return None
        self.standing = Standing.NONE
        return messages.encode(Header(Kind.CLOSE, epoch=self._epoch), Close(reason=reason))

    def overdue(self, after_s: float) -> NotReadyError:
        """The error for a request that was not answered in time."""
        service = self._opening.service
        why = self.why or "it has the request and has not answered yet"
        return NotReadyError(f"service '{service}' gave no chunk within {after_s:g} s: {why}")

    def _open(self, now_ns: int) -> list[Buffer]:
        self._epoch, self._opened_ns = next(self._epochs), now_ns
        self.standing = Standing.ASKED
        header = Header(Kind.OPEN, episode=self._episode, epoch=self._epoch, token=now_ns)
        asked = msgspec.structs.replace(self._opening, session=new_session_id())
        return messages.encode(header, asked)

    def _ask(self, body: Request, blobs: list[Buffer]) -> list[Buffer]:
        header = Header(Kind.REQUEST, self._seq, self._episode, self._epoch)
        if self._begins and self._episode:
            # Sent once more, with the request itself, which begins the episode.
            self._begins = False
            return messages.encode(header._replace(kind=Kind.RESET), Reset())
        self._is_sent = True
        return messages.encode(header, body, blobs)

    def _event(self, event: Event, epoch: int) -> None:
        if event.what == "available":
            self._pause_ns = 0
        elif event.what == "lost" and epoch == self._epoch and self.standing is not Standing.NONE:
            # Else it answers a heartbeat that was under way when the handshake was refused, and
            # says less than the refusal.
            self.lost(event.message)

    def _accepted(self, terms: Accept) -> None:
        if self.standing is not Standing.ASKED:
            return
        before, self.terms = self.terms, terms
        self.standing, self.why, self._is_sent = Standing.HELD, "", False
        if before is not None and _model(before) != _model(terms):
            was, now = (f"{t.model} {t.revision} ({t.checkpoint:.12})" for t in (before, terms))
            raise PolicyLostError(f"the service changed its model from {was} to {now}: reconnect")

    def _rejected(self, answer: Reject, now_ns: int) -> None:
        if self.standing is not Standing.ASKED:
            return
        self.standing = Standing.NONE
        self.why = f"{answer.reason}: {answer.message}"
        self._pause_ns = now_ns + round(answer.retry_after_s * 1e9)
        if answer.final:
            raise PolicyLostError(self.why)


def _model(terms: Accept) -> tuple[object, ...]:
    """What a client relies on for as long as it is connected."""
    return terms.model, terms.revision, terms.checkpoint, terms.action_names, terms.chunk_size

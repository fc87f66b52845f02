"""What robots say, and what the broker does about it.

A robot's session belongs to the newest claim to its name, by (epoch, incarnation). Another peer's
older claim is refused while the holder is heard of; once it is silent anybody may take over,
because a robot whose whole computer restarted counts from one again. The holder's own later claim
counts whatever its epoch: no number that was ever sent in its name keeps it out. A session is its
opener's alone: whoever else has the name, be it the next incarnation of the same robot, opens its
own.
"""

from __future__ import annotations

import logging

from ...transport.header import Kind
from ...transport.messages import Error, Event, Heartbeat, Inquiry, Open, Reject, Verdict
from .effects import Received
from .inquiries import Inquiries
from .peers import Peer
from .replica_choice import RETRY_AFTER_S, refusal
from .router_state import RouterState
from .sessions import Outstanding, RoutedSession

TAKEOVER_NS = 1_500_000_000
"""Three heartbeats: how long a holder must be silent before an older claim may replace it."""


class RobotHandlers:
    """The robots' side of the routing."""

    def __init__(self, placement: RouterState, inquiries: Inquiries) -> None:
        self._placement = placement
        self._inquiries = inquiries
        self._tally = placement.tally
        self._handlers = {
            Kind.OPEN: self._open,
            Kind.CLOSE: self._close,
            Kind.RESET: self._reset,
            Kind.REQUEST: self._request,
            Kind.HEARTBEAT: self._heartbeat,
            Kind.INQUIRY: self._inquire,
        }

    def speaks(self, kind: Kind) -> bool:
        """Whether robots may send `kind` at all."""
        return kind in self._handlers

    def receive(self, peer: Peer, message: Received, now: int) -> None:
        """Handle one message of a robot, of a kind that robots speak."""
        session = self._placement.sessions.of(peer.name)
        if session is not None and session.peer.identity == peer.identity:
            session.seen_at = now
            session.reachable = True
        self._handlers[message.header.kind](peer, message, now)

    def _open(self, peer: Peer, message: Received, now: int) -> None:
        asked = message.body
        assert isinstance(asked, Open), "the shell decodes every OPEN"
        if asked.robot != peer.name:
            self._refuse(peer, message, self._wrong_name(peer, asked, now))
            return
        session = RoutedSession(
            peer=peer,
            opening=message,
            service=asked.service,
            replica=b"",
            seen_at=now,
            active_at=now,
            placed_at=now,
        )
        holder = self._placement.sessions.of(peer.name)
        if holder is not None and self._is_older(session, holder, now):
            self._refuse_older(peer, message, holder, now)
            return
        self._placement.callers.asked(peer.name, asked, now)
        if not self._placement.open(session, now):
            loads = self._placement.sessions.loads()
            answer = refusal(self._placement.registry, loads, asked)
            self._tally.count(f"rejected-{answer.reason}", peer.name)
            self._refuse(peer, message, answer)
            self._placement.wait_for_place(session, now)

    def _inquire(self, peer: Peer, message: Received, now: int) -> None:
        inquiry = message.body
        assert isinstance(inquiry, Inquiry), "the shell decodes every INQUIRY"
        if inquiry.open.robot != peer.name:
            answer = Verdict(reject=self._wrong_name(peer, inquiry.open, now))
            self._placement.tell_robot(peer.identity, message.header, answer)
            return
        self._inquiries.ask(peer, message, now)

    def _wrong_name(self, peer: Peer, asked: Open, now: int) -> Reject:
        self._placement.violation(peer.identity, peer.name, "wrong-name", now)
        return Reject(
            reason="identity",
            message=f"{peer.name!r} asks for a session of {asked.robot!r}: a robot opens "
            "sessions under its own name only",
            final=True,
        )

    def _is_older(self, claim: RoutedSession, holder: RoutedSession, now: int) -> bool:
        """Whether `claim` is another peer's, and the holder's is newer and alive."""
        if claim.peer.identity == holder.peer.identity:
            return False
        return claim.age < holder.age and self._is_present(holder, now)

    def _is_present(self, holder: RoutedSession, now: int) -> bool:
        return holder.reachable and now - holder.seen_at < TAKEOVER_NS

    def _refuse_older(self, peer: Peer, message: Received, holder: RoutedSession, now: int) -> None:
        self._tally.count("name-taken", peer.name)
        self._placement.note(now, logging.WARNING, "robot name taken", robot=peer.name)
        holding = f"epoch {holder.epoch} of incarnation {holder.peer.incarnation}"
        claimed = f"epoch {message.header.epoch} of incarnation {peer.incarnation}"
        answer = Reject(
            reason="name-taken",
            message=f"{peer.name!r} has a newer session ({holding}; this is {claimed}): if two "
            "robots have this name, give each its own; else it ends within seconds",
            retry_after_s=RETRY_AFTER_S,
        )
        self._refuse(peer, message, answer)

    def _refuse(self, peer: Peer, message: Received, answer: Reject) -> None:
        self._placement.tell_robot(peer.identity, message.header, answer)

    def _close(self, peer: Peer, message: Received, now: int) -> None:
        session = self._mine(peer, message)
        if session is None:
            # The late end of an old session, or one that ended by itself: nothing to do.
            self._tally.count("late-close", peer.name)
            return
        self._placement.close(session, "closed")
        self._placement.waiting.discard(peer.name)
        self._placement.callers.forget(peer.name)

    def _reset(self, peer: Peer, message: Received, now: int) -> None:
        session = self._mine(peer, message)
        if session is None:
            self._tell_lost(peer, message)
        elif session.opened:
            self._placement.pass_to_replica(session, message)

    def _request(self, peer: Peer, message: Received, now: int) -> None:
        session = self._mine(peer, message)
        if session is None:
            self._tell_lost(peer, message)
            return
        header = message.header
        if session.terms is None:
            self._tally.count("request-before-accept", peer.name)
            return
        waiting = session.request
        if header.seq == session.last_seq or (waiting is not None and header.seq < waiting.seq):
            self._tally.count("request-repeated", peer.name)
            if waiting is not None and header.seq < waiting.seq:
                words = f"request {waiting.seq} of this robot is newer and waits for its answer"
                error = Error(reason="superseded", message=words)
                self._placement.tell_robot(peer.identity, header, error)
            return
        if waiting is not None:
            self._tally.count("superseded", peer.name)
        session.last_seq = header.seq
        session.active_at = now
        session.request = Outstanding(header.seq, message, now)
        self._tally.count("requests")
        self._placement.push(session)

    def _heartbeat(self, peer: Peer, message: Received, now: int) -> None:
        beat = Heartbeat(progress=self._placement.turns)
        self._placement.tell_robot(peer.identity, message.header, beat)
        session = self._placement.sessions.of(peer.name)
        said = message.body
        assert isinstance(said, Heartbeat), "the shell decodes every HEARTBEAT"
        if session is None or session.peer.identity == peer.identity:
            self._placement.callers.beat(peer.name, said.vitals, now)
        if message.header.epoch and (session is None or session.peer.identity != peer.identity):
            # It believes in a session that is not: the sooner it knows, the less it waits.
            self._tell_lost(peer, message)

    def _mine(self, peer: Peer, message: Received) -> RoutedSession | None:
        """The session that `message` is about: of this robot, this incarnation and this epoch."""
        session = self._placement.sessions.of(peer.name)
        if session is None or session.peer.identity != peer.identity:
            return None
        return session if session.epoch == message.header.epoch else None

    def _tell_lost(self, peer: Peer, message: Received) -> None:
        """Answer a message of a session that is not, so that its robot opens a new one."""
        self._tally.count("unknown-session", peer.name)
        session = self._placement.sessions.of(peer.name)
        if session is None:
            why = "unknown session: the broker restarted, or the session ended; open a new one"
        elif session.peer.identity != peer.identity:
            why = f"the session of {peer.name!r} is another incarnation's; open a new one"
        else:
            why = f"the session is of epoch {session.epoch}, not {message.header.epoch}"
        self._placement.tell_robot(peer.identity, message.header, Event(what="lost", message=why))

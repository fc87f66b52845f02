"""`RobotHandlers`: what the broker does with each kind of message of a robot.

A robot's session belongs to the newest claim to its name, by (epoch, incarnation). Another peer's
older claim is rejected while the holder is heard of; once the holder is silent any claim is
accepted, because a robot whose computer restarted counts from one again. The holder's own later
claim is accepted whatever its epoch. Only the identity that opened a session uses it: another peer
of the name, be it the robot's next incarnation, opens its own.
"""

from __future__ import annotations

import logging

from ...transport.bodies import Error, Event, Heartbeat, Inquiry, Open, Reject, Verdict
from ...transport.header import Kind
from ..runtime.configs import ROBOT_TAKEOVER_NS
from .effects import Received
from .inquiries import Inquiries
from .peers import Peer
from .replica_choice import RETRY_AFTER_S, refusal
from .router_state import RouterState
from .sessions import Outstanding, RoutedSession


class RobotHandlers:
    """Handles the messages of robots; changes `state`."""

    def __init__(self, state: RouterState, inquiries: Inquiries, idle_ns: int) -> None:
        """`idle_ns`: after how long without a request a session ends."""
        self._state = state
        self._inquiries, self._idle_ns = inquiries, idle_ns
        self._counters = state.counters
        self._handlers = {
            Kind.OPEN: self._open,
            Kind.CLOSE: self._close,
            Kind.RESET: self._reset,
            Kind.REQUEST: self._request,
            Kind.HEARTBEAT: self._heartbeat,
            Kind.INQUIRY: self._inquire,
        }

    def accepts(self, kind: Kind) -> bool:
        """Whether robots may send `kind`."""
        return kind in self._handlers

    def receive(self, peer: Peer, message: Received, now_ns: int) -> None:
        """Handle one message of a robot, of a kind that is accepted."""
        session = self._state.sessions.of(peer.name)
        if session is not None and session.peer.identity == peer.identity:
            self._state.sessions.heard(session, now_ns)
        self._handlers[message.header.kind](peer, message, now_ns)
        # Here and not in the tick: a robot that says nothing ends as silent, long before.
        if session is not None and now_ns - session.active_ns >= self._idle_ns:
            why = "no request for so long that its place was given up"
            self._state.lose(session, why, now_ns)

    def _open(self, peer: Peer, message: Received, now_ns: int) -> None:
        asked = message.body
        assert isinstance(asked, Open), "the shell decodes every OPEN"
        if asked.robot != peer.name:
            self._refuse(peer, message, self._wrong_name(peer, asked, now_ns))
            return
        session = RoutedSession.unplaced(peer, message, now_ns)
        holder = self._state.sessions.of(peer.name)
        if holder is not None and self._is_older(session, holder, now_ns):
            self._refuse_older(peer, message, holder, now_ns)
            return
        self._state.callers.asked(peer.name, asked, now_ns)
        if not self._state.open(session, now_ns):
            loads = self._state.placement.loads()
            answer = refusal(self._state.registry, loads, asked, self._state.external)
            self._counters.count(f"rejected-{answer.reason}", peer.name)
            self._refuse(peer, message, answer)
            self._state.add_waiter(session, now_ns)

    def _inquire(self, peer: Peer, message: Received, now_ns: int) -> None:
        inquiry = message.body
        assert isinstance(inquiry, Inquiry), "the shell decodes every INQUIRY"
        if inquiry.open.robot != peer.name:
            answer = Verdict(reject=self._wrong_name(peer, inquiry.open, now_ns))
            self._state.out.send_to_robot(peer.identity, message.header, answer)
            return
        self._inquiries.ask(peer, message, now_ns)

    def _wrong_name(self, peer: Peer, asked: Open, now_ns: int) -> Reject:
        self._state.violation(peer.identity, peer.name, "wrong-name", now_ns)
        return Reject(
            reason="identity",
            message=f"{peer.name!r} asks for a session of {asked.robot!r}: a robot opens "
            "sessions under its own name only",
            final=True,
        )

    def _is_older(self, claim: RoutedSession, holder: RoutedSession, now_ns: int) -> bool:
        """Whether `claim` is another peer's, and the holder's is newer and alive."""
        if claim.peer.identity == holder.peer.identity:
            return False
        return claim.rank < holder.rank and self._is_alive(holder, now_ns)

    def _is_alive(self, holder: RoutedSession, now_ns: int) -> bool:
        return holder.reachable and now_ns - holder.seen_ns < ROBOT_TAKEOVER_NS

    def _refuse_older(
        self, peer: Peer, message: Received, holder: RoutedSession, now_ns: int
    ) -> None:
        self._counters.count("name-taken", peer.name)
        self._state.out.log(now_ns, logging.WARNING, "robot name taken", robot=peer.name)
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
        self._state.out.send_to_robot(peer.identity, message.header, answer)

    def _close(self, peer: Peer, message: Received, now_ns: int) -> None:
        session = self._session_of(peer, message)
        if session is None:
            # Late, or the session ended meanwhile: nothing to do.
            self._counters.count("late-close", peer.name)
            return
        self._state.close(session, "closed")
        self._state.callers.forget(peer.name)

    def _reset(self, peer: Peer, message: Received, now_ns: int) -> None:
        session = self._session_of(peer, message)
        if session is None:
            self._send_lost(peer, message)
        elif session.opened:
            self._state.out.forward_to_replica(session, message)

    def _request(self, peer: Peer, message: Received, now_ns: int) -> None:
        session = self._session_of(peer, message)
        if session is None:
            self._send_lost(peer, message)
            return
        header = message.header
        if session.terms is None:
            self._counters.count("request-before-accept", peer.name)
            return
        waiting = session.request
        if header.seq == session.last_seq or (waiting is not None and header.seq < waiting.seq):
            self._counters.count("request-repeated", peer.name)
            if waiting is not None and header.seq < waiting.seq:
                words = f"request {waiting.seq} of this robot is newer and waits for its answer"
                error = Error(reason="superseded", message=words)
                self._state.out.send_to_robot(peer.identity, header, error)
            return
        if waiting is not None:
            self._counters.count("superseded", peer.name)
        session.last_seq = header.seq
        session.active_ns = now_ns
        request = Outstanding(header.seq, message, now_ns, now_ns)
        self._state.sessions.ask(session, request)
        session.undelivered = None
        self._counters.count("requests")
        self._state.send_pending(session)

    def _heartbeat(self, peer: Peer, message: Received, now_ns: int) -> None:
        answer = Heartbeat(progress=self._state.turns, stops=self._state.stops)
        self._state.out.send_to_robot(peer.identity, message.header, answer)
        session = self._state.sessions.of(peer.name)
        beat = message.body
        assert isinstance(beat, Heartbeat), "the shell decodes every HEARTBEAT"
        if session is None or session.peer.identity == peer.identity:
            self._state.callers.beat(peer.name, beat, now_ns)
        if beat.direct_answers and (held := self._session_of(peer, message)) is not None:
            self._answered_directly(held, beat, now_ns)
        if message.header.epoch and (session is None or session.peer.identity != peer.identity):
            # It claims a session that does not exist: the sooner it knows, the less it waits.
            self._send_lost(peer, message)
        elif message.header.seq and (held := self._session_of(peer, message)) is not None:
            self._answer_doubt(held, message)

    def _answered_directly(self, session: RoutedSession, beat: Heartbeat, now_ns: int) -> None:
        """Requests went straight to the replica: the session is in use, and they took so long."""
        since = beat.direct_answers - session.direct_answers
        if since < 0:
            since = beat.direct_answers  # it counts anew
        if not since:
            return
        session.direct_answers, session.active_ns = beat.direct_answers, now_ns
        for reason in ("requests", "replies", "direct"):
            self._counters.add(reason, since)
        replica = self._state.registry.at(session.replica)
        if replica is not None:
            for took_s in beat.direct_s[-since:]:
                replica.answered(round(took_s * 1e9))

    def _answer_doubt(self, session: RoutedSession, message: Received) -> None:
        """The robot waits for an answer to the request of the heartbeat's seq. It is sent one that
        was not delivered. Otherwise, messages arrive in order: if the request is not outstanding,
        it or its answer was lost with a connection, or the answer is on its way, ahead of this."""
        about = message.header
        if session.request is not None and session.request.seq == about.seq:
            return
        answer, session.undelivered = session.undelivered, None
        if answer is not None and answer.header[1:4] == about[1:4]:
            self._counters.count("delivered-late", session.robot)
            self._state.out.repeat_to_robot(answer)
            return
        self._counters.count("lost-with-connection", session.robot)
        words = "the request or its answer was lost with the connection to the broker"
        self._state.out.send_to_robot(
            session.peer.identity, about, Error(reason="connection-lost", message=words)
        )

    def _session_of(self, peer: Peer, message: Received) -> RoutedSession | None:
        """The session of this robot, identity and epoch, which `message` is about, if it exists."""
        session = self._state.sessions.of(peer.name)
        if session is None or session.peer.identity != peer.identity:
            return None
        return session if session.epoch == message.header.epoch else None

    def _send_lost(self, peer: Peer, message: Received) -> None:
        """Answer a message about a session that does not exist, so that its robot opens one."""
        self._counters.count("unknown-session", peer.name)
        session = self._state.sessions.of(peer.name)
        if session is None:
            why = "unknown session: the broker restarted, or the session ended; open a new one"
        elif session.peer.identity != peer.identity:
            why = f"the session of {peer.name!r} is another incarnation's; open a new one"
        else:
            why = f"the session is of epoch {session.epoch}, not {message.header.epoch}"
        self._state.out.send_to_robot(
            peer.identity, message.header, Event(what="lost", message=why)
        )

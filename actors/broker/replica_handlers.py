"""`ReplicaHandlers`: what the broker does with each kind of message of a replica.

Only a session's present replica may send about it, and only in the session's epoch: messages of
one that was removed (it hung, and woke) are dropped and counted. A replica that is not registered
is asked to register by a WELCOME whose token is 0; a REGISTER says that the replica holds no
sessions, and is answered by a WELCOME with its token.
"""

from __future__ import annotations

import logging

from msgspec.structs import replace

from ...transport.bodies import Accept, Drain, Event, Heartbeat, Register, Reject, Welcome
from ...transport.header import Header, Kind
from ...transport.limits import DEFAULT
from .contracts import differences
from .effects import Received
from .inquiries import Inquiries
from .peers import Peer
from .replicas import MAX_REPLICAS, Replica
from .router_state import RETRYABLE, RouterState
from .sessions import RoutedSession

MAX_TEXT = DEFAULT.max_text_chars
MOVED = "moved"
"""The reason of a REJECT of a robot that has a newer session by another broker."""


class ReplicaHandlers:
    """Handles the messages of replicas; changes `state`. `broker`: the name in WELCOME."""

    def __init__(
        self, state: RouterState, inquiries: Inquiries, broker: str, heartbeat_s: float
    ) -> None:
        self._state = state
        self._inquiries = inquiries
        self._counters = state.counters
        self._welcome = Welcome(broker=broker, heartbeat_s=heartbeat_s)
        self._about_replica = {
            Kind.REGISTER: self._register,
            Kind.HEARTBEAT: self._heartbeat,
            Kind.DRAIN: self._drain,
        }
        self._about_session = {
            Kind.ACCEPT: self._accept,
            Kind.REJECT: self._reject,
            Kind.REPLY: self._answer,
            Kind.ERROR: self._answer,
            Kind.EVENT: self._event,
        }

    def accepts(self, kind: Kind, robot: str) -> bool:
        """Whether replicas may send `kind`, about `robot` or (empty) about themselves."""
        if robot:
            return kind in self._about_session or kind is Kind.VERDICT
        return kind in self._about_replica

    def receive(self, peer: Peer, robot: str, message: Received, now_ns: int) -> None:
        """Handle one message of a replica, of a kind that is accepted."""
        kind = message.header.kind
        if not robot:
            self._about_replica[kind](peer, message, now_ns)
            return
        if kind is Kind.VERDICT:
            self._inquiries.answered(peer, robot, message)
            return
        replica = self._state.registry.at(peer.identity)
        if replica is not None and kind is not Kind.EVENT:
            replica.moved(now_ns)
        session = self._state.sessions.of(robot)
        if (
            session is None
            or session.replica != peer.identity
            or session.epoch != message.header.epoch
        ):
            self._counters.count(f"late-{kind.name.lower()}", peer.name)
            return
        self._about_session[kind](session, message, now_ns)

    # About the replica

    def _register(self, peer: Peer, message: Received, now_ns: int) -> None:
        offer = message.body
        assert isinstance(offer, Register), "the shell decodes every REGISTER"
        registry = self._state.registry
        if offer.replica != peer.name or offer.service != peer.service or not peer.service:
            self._state.violation(peer.identity, peer.name, "wrong-name", now_ns)
            return
        known = registry.named(peer.name)
        if known is not None and known.identity == peer.identity:
            if known.token == message.header.token != 0:
                # Repeated, because the WELCOME has not arrived yet.
                self._state.out.send_to_replica(peer.identity, message.header, self._welcome)
                return
        elif known is not None and peer.incarnation < known.peer.incarnation:
            self._counters.count("register-older", peer.name)
            return
        elif known is None and len(registry) >= MAX_REPLICAS:
            self._state.violation(peer.identity, peer.name, "too-many-replicas", now_ns)
            return
        if unlike := self._other_contract(offer):
            self._refuse(peer, message, offer, unlike, now_ns)
            return
        replica = Replica(peer, offer, message.header.token, progress_ns=now_ns, heard_ns=now_ns)
        self._state.out.send_to_replica(peer.identity, message.header, self._welcome)
        self._state.register(replica, now_ns)

    def _other_contract(self, offer: Register) -> str:
        """In what `offer` differs from what the service's other replicas serve, in words; empty if
        it may join them."""
        # Draining replicas are about to leave, and its own former incarnation is gone.
        for replica in self._state.registry.of(offer.service):
            if replica.name == offer.replica or replica.draining:
                continue
            if unlike := differences(offer, replica.offer):
                return f"{unlike}, as {_placed(replica.offer)} serves it"
        return ""

    def _refuse(
        self, peer: Peer, message: Received, offer: Register, unlike: str, now_ns: int
    ) -> None:
        """Reject a replica of another contract: robots of the service keep the terms they have."""
        self._counters.count("replica-refused", peer.name)
        words = (
            f"{_placed(offer)} offers {unlike}: the replicas of one service must be alike; give "
            "both the same, serve it under a name of its own, or stop the others first"
        )
        self._state.out.log(
            now_ns, logging.WARNING, "replica refused", replica=peer.name, why=unlike
        )
        known = self._state.registry.at(peer.identity)
        if known is not None:
            self._state.remove_replica(known, "replaced", now_ns)
        self._state.refused.add(offer, words, now_ns)
        refusal = Reject(reason="contract", message=words[:MAX_TEXT], final=True)
        self._state.out.send_to_replica(peer.identity, message.header, refusal)

    def _heartbeat(self, peer: Peer, message: Received, now_ns: int) -> None:
        beat = message.body
        assert isinstance(beat, Heartbeat), "the shell decodes every HEARTBEAT of a replica"
        replica = self._state.registry.at(peer.identity)
        if replica is None:
            self._counters.count("unregistered", peer.name)
            self._state.out.send_to_replica(peer.identity, Header(Kind.WELCOME), self._welcome)
            return
        replica.heard(beat, now_ns)
        answer = Heartbeat(progress=self._state.turns)
        self._state.out.send_to_replica(peer.identity, message.header, answer)

    def _drain(self, peer: Peer, message: Received, now_ns: int) -> None:
        request = message.body
        assert isinstance(request, Drain), "the shell decodes every DRAIN"
        replica = self._state.registry.at(peer.identity)
        if replica is None:
            self._counters.count("unregistered", peer.name)
            self._state.out.send_to_replica(peer.identity, message.header, Drain(reason="drained"))
            return
        if not replica.draining:
            self._state.out.log(now_ns, logging.INFO, "replica drains", replica=replica.name)
        replica.draining = True
        replica.stopping = request.reason == "stopping"
        replica.drained = False  # it asks again if it missed the answer
        self._state.drain(replica, now_ns)

    # About a session

    def _accept(self, session: RoutedSession, message: Received, now_ns: int) -> None:
        terms = message.body
        assert isinstance(terms, Accept), "the shell decodes every ACCEPT"
        if session.settled:
            self._counters.count("accept-repeated", session.robot)
            return
        self._state.waiting.accepted(session.robot)
        if session.terms is None:
            session.settled = True
            session.terms = terms
            self._state.out.forward_to_robot(session, message)
        elif _same_contract(terms, session.terms):
            session.settled = True
            session.refused.clear()  # replicas without room then may have some when this one dies
            if terms.direct:  # the robot may go there straight
                # Without shared memory if it began so: the next replica may be on another host.
                kept = replace(terms, shm=session.terms.shm)
                self._state.out.send_to_robot(session.peer.identity, message.header, kept)
        else:
            session.refused.add(session.replica)
            why = f"replica {terms.replica} serves {terms.checkpoint!r}, not the session's weights"
            self._state.fail_over(session, why, now_ns)

    def _reject(self, session: RoutedSession, message: Received, now_ns: int) -> None:
        answer = message.body
        assert isinstance(answer, Reject), "the shell decodes every REJECT"
        session.refused.add(session.replica)
        final = (
            answer.reason not in RETRYABLE or self._state.placement.failover_target(session) is None
        )
        if session.terms is None and final:
            self._counters.count("rejected-by-replica", session.robot)
            if answer.reason == "capacity":
                self._state.waiting.turned_away(session.robot, session.service, now_ns)
            self._state.out.forward_to_robot(session, message)
            self._state.close(session, "rejected")
            return
        if answer.reason == MOVED:
            self._state.lose(session, answer.message, now_ns)
            return
        self._state.fail_over(session, f"its replica refused: {answer.message}", now_ns)

    def _answer(self, session: RoutedSession, message: Received, now_ns: int) -> None:
        """A REPLY, or an ERROR in its place: the first of them answers the request."""
        request = session.request
        if request is None or request.seq != message.header.seq:
            self._counters.count("reply-unexpected", session.robot)
            return
        if (replica := self._state.registry.at(session.replica)) is not None:
            replica.answered(now_ns - request.asked_ns)
            self._state.out.answered(session, message, replica.name, now_ns)
        session.request = None
        self._counters.count("replies" if message.header.kind is Kind.REPLY else "errors")
        self._state.out.forward_to_robot(session, message)
        if replica is not None and replica.draining:
            self._state.drain(replica, now_ns)

    def _event(self, session: RoutedSession, message: Received, now_ns: int) -> None:
        event = message.body
        assert isinstance(event, Event), "the shell decodes every EVENT"
        self._state.out.forward_to_robot(session, message)
        if event.what == "lost":
            self._state.close(session, "lost-at-replica")


def _placed(offer: Register) -> str:
    """A replica and its host, for people."""
    return f"{offer.replica} on {offer.host}" if offer.host else offer.replica


def _same_contract(new: Accept, old: Accept) -> bool:
    """Whether a robot that was accepted on the terms `old` may go on under `new` unnotified."""
    return (
        new.checkpoint == old.checkpoint
        and new.model == old.model
        and new.revision == old.revision
        and new.action_names == old.action_names
        and new.chunk_size == old.chunk_size
        and (new.shm or not old.shm)
    )

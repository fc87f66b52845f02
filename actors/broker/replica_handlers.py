"""What replicas say, and what the broker does about it.

Only the replica at hand speaks for a session, and only in the session's epoch: what comes from one
that was given up (it hung, and woke) is dropped and counted. A replica that the broker does not
know is asked to register, by a WELCOME whose token is 0; registering says that it holds no
sessions, and is answered by a WELCOME with its token.
"""

from __future__ import annotations

import logging

from ...transport.header import Header, Kind
from ...transport.limits import DEFAULT
from ...transport.messages import Accept, Drain, Event, Heartbeat, Register, Reject, Welcome
from .contracts import differences
from .effects import Received
from .inquiries import Inquiries
from .peers import Peer
from .replicas import MAX_REPLICAS, Replica
from .router_state import RETRYABLE, RouterState
from .sessions import RoutedSession

MAX_TEXT = DEFAULT.max_text_chars


class ReplicaHandlers:
    """The replicas' side of the routing."""

    def __init__(
        self, placement: RouterState, inquiries: Inquiries, broker: str, heartbeat_s: float
    ) -> None:
        self._placement = placement
        self._inquiries = inquiries
        self._tally = placement.tally
        self._welcome = Welcome(broker=broker, heartbeat_s=heartbeat_s)
        self._of_itself = {
            Kind.REGISTER: self._register,
            Kind.HEARTBEAT: self._heartbeat,
            Kind.DRAIN: self._drain,
        }
        self._of_session = {
            Kind.ACCEPT: self._accept,
            Kind.REJECT: self._reject,
            Kind.REPLY: self._answer,
            Kind.ERROR: self._answer,
            Kind.EVENT: self._event,
        }

    def speaks(self, kind: Kind, robot: str) -> bool:
        """Whether replicas may send `kind`, about `robot` or (empty) about themselves."""
        if robot:
            return kind in self._of_session or kind is Kind.VERDICT
        return kind in self._of_itself

    def receive(self, peer: Peer, robot: str, message: Received, now: int) -> None:
        """Handle one message of a replica, of a kind that replicas speak."""
        kind = message.header.kind
        if not robot:
            self._of_itself[kind](peer, message, now)
            return
        if kind is Kind.VERDICT:
            self._inquiries.answered(peer, robot, message, now)
            return
        replica = self._placement.registry.at(peer.identity)
        if replica is not None and kind is not Kind.EVENT:
            replica.moved(now)
        session = self._placement.sessions.of(robot)
        if (
            session is None
            or session.replica != peer.identity
            or session.epoch != message.header.epoch
        ):
            self._tally.count(f"late-{kind.name.lower()}", peer.name)
            return
        self._of_session[kind](session, message, now)

    # About itself

    def _register(self, peer: Peer, message: Received, now: int) -> None:
        offer = message.body
        assert isinstance(offer, Register), "the shell decodes every REGISTER"
        registry = self._placement.registry
        if offer.replica != peer.name or offer.service != peer.service or not peer.service:
            self._placement.violation(peer.identity, peer.name, "wrong-name", now)
            return
        known = registry.named(peer.name)
        if known is not None and known.identity == peer.identity:
            if known.token == message.header.token != 0:
                # It has not seen the answer yet, and asks again.
                self._placement.tell_replica(peer.identity, message.header, self._welcome)
                return
        elif known is not None and peer.incarnation < known.peer.incarnation:
            self._tally.count("register-older", peer.name)
            return
        elif known is None and len(registry) >= MAX_REPLICAS:
            self._placement.violation(peer.identity, peer.name, "too-many-replicas", now)
            return
        if unlike := self._other_contract(offer):
            self._refuse(peer, message, unlike, now)
            return
        replica = Replica(peer, offer, message.header.token, progress_at=now, heard_at=now)
        self._placement.tell_replica(peer.identity, message.header, self._welcome)
        self._placement.enlist(replica, now)

    def _other_contract(self, offer: Register) -> str:
        """In what `offer` differs from what the service's replicas serve; empty where it may join
        them. Those that drain are on their way out, and its own former incarnation is gone."""
        for replica in self._placement.registry.of(offer.service):
            if replica.name == offer.replica or replica.draining:
                continue
            if unlike := differences(offer, replica.offer):
                return f"{unlike}, as {replica.name} serves it"
        return ""

    def _refuse(self, peer: Peer, message: Received, unlike: str, now: int) -> None:
        """Robots of the service go on with what they were promised."""
        self._tally.count("replica-refused", peer.name)
        words = (
            f"{peer.name} offers {unlike}: the replicas of one service must be alike; serve it "
            "under a name of its own, or stop the others first"
        )
        self._placement.note(now, logging.WARNING, "replica refused", replica=peer.name, why=unlike)
        known = self._placement.registry.at(peer.identity)
        if known is not None:
            self._placement.forget_replica(known, "replaced", now)
        refusal = Reject(reason="contract", message=words[:MAX_TEXT], final=True)
        self._placement.tell_replica(peer.identity, message.header, refusal)

    def _heartbeat(self, peer: Peer, message: Received, now: int) -> None:
        beat = message.body
        assert isinstance(beat, Heartbeat), "the shell decodes every HEARTBEAT of a replica"
        replica = self._placement.registry.at(peer.identity)
        if replica is None:
            self._tally.count("unregistered", peer.name)
            self._placement.tell_replica(peer.identity, Header(Kind.WELCOME), self._welcome)
            return
        replica.heard(beat.progress, beat.load, now)
        answer = Heartbeat(progress=self._placement.turns)
        self._placement.tell_replica(peer.identity, message.header, answer)

    def _drain(self, peer: Peer, message: Received, now: int) -> None:
        said = message.body
        assert isinstance(said, Drain), "the shell decodes every DRAIN"
        replica = self._placement.registry.at(peer.identity)
        if replica is None:
            self._tally.count("unregistered", peer.name)
            self._placement.tell_replica(peer.identity, message.header, Drain(reason="drained"))
            return
        if not replica.draining:
            self._placement.note(now, logging.INFO, "replica drains", replica=replica.name)
        replica.draining = True
        replica.stopping = said.reason == "stopping"
        replica.drained = False  # it asks again in case it missed the answer
        self._placement.drain(replica, now)

    # About a session

    def _accept(self, session: RoutedSession, message: Received, now: int) -> None:
        terms = message.body
        assert isinstance(terms, Accept), "the shell decodes every ACCEPT"
        if session.settled:
            self._tally.count("accept-repeated", session.robot)
            return
        if session.terms is None:
            session.settled = True
            session.terms = terms
            self._placement.pass_to_robot(session, message)
        elif _same_contract(terms, session.terms):
            session.settled = True
            session.refused.clear()  # who had no room then may have some when this one dies
        else:
            session.refused.add(session.replica)
            why = f"replica {terms.replica} serves {terms.checkpoint!r}, not the session's weights"
            self._placement.rescue(session, why, now)

    def _reject(self, session: RoutedSession, message: Received, now: int) -> None:
        answer = message.body
        assert isinstance(answer, Reject), "the shell decodes every REJECT"
        session.refused.add(session.replica)
        placement = self._placement
        final = answer.reason not in RETRYABLE or placement.refuge(session) is None
        if session.terms is None and final:
            self._tally.count("rejected-by-replica", session.robot)
            self._placement.pass_to_robot(session, message)
            self._placement.close(session, "rejected")
            return
        self._placement.rescue(session, f"its replica refused: {answer.message}", now)

    def _answer(self, session: RoutedSession, message: Received, now: int) -> None:
        """A REPLY, or an ERROR in its place: whichever is first answers the request."""
        request = session.request
        if request is None or request.seq != message.header.seq:
            self._tally.count("reply-unexpected", session.robot)
            return
        session.request = None
        if (replica := self._placement.registry.at(session.replica)) is not None:
            replica.answered(now - request.asked_at)
        self._tally.count("replies" if message.header.kind is Kind.REPLY else "errors")
        self._placement.pass_to_robot(session, message)
        if replica is not None and replica.draining:
            self._placement.drain(replica, now)

    def _event(self, session: RoutedSession, message: Received, now: int) -> None:
        event = message.body
        assert isinstance(event, Event), "the shell decodes every EVENT"
        self._placement.pass_to_robot(session, message)
        if event.what == "lost":
            self._placement.close(session, "lost-at-replica")


def _same_contract(new: Accept, old: Accept) -> bool:
    """Whether a robot that holds the terms `old` may go on under `new` without being told."""
    return (
        new.checkpoint == old.checkpoint
        and new.model == old.model
        and new.revision == old.revision
        and new.action_names == old.action_names
        and new.chunk_size == old.chunk_size
        and (new.shm or not old.shm)
    )

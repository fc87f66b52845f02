"""`Routing`: the broker's decisions, without sockets and without a clock.

Messages, failed sends and the time go in, effects come out; the shell carries these out in order
and reports what could not be delivered. Guarantees, whatever peers do:

- exactly one reply reaches a robot for each request that is not superseded, as long as a replica
  that may answer it lives; none is delivered twice, to another robot or from a removed replica;
- no replica holds more sessions than it offered, and a session that ends frees its place;
- nothing queues: one outstanding request per robot, the newest;
- a peer's faults change nothing for sessions of other peers.

Nothing is kept on disk: after a restart robots learn that their session is lost and replicas that
they are not registered, and both come back by themselves. Does not tell apart two robots that use
the same name, incarnation and epoch: their keys must.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Literal

from ...errors import WireError
from ...transport.bodies import Event, Heartbeat
from ...transport.header import Header, Kind
from ...transport.messages import unreadable
from ..runtime.configs import BrokerConfig
from .counters import Counters
from .effects import Answered, Effect, Received, ToReplica, ToRobot
from .inquiries import Inquiries
from .peers import Peer, label, name_of
from .replica_handlers import ReplicaHandlers
from .robot_handlers import RobotHandlers
from .router_state import RouterState
from .routing_status import status_of
from .service_signals import ServiceSignals
from .waiting import EXPIRED_NS

ANSWER_OPEN_NS = 5_000_000_000
"""How long a live replica may take to answer an OPEN: it validates, it does not load anything."""
ABSENT_NS = 1_000_000_000
"""A pause of the broker this long cannot be told from silence of its peers."""

Why = Literal["full", "unreachable"]


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


class Routing:
    """The pure core of the broker. `name` is what WELCOME carries; `counters` are an earlier
    incarnation's, which are continued; instants are monotonic ns. Each event returns the effects
    to carry out."""

    def __init__(
        self, config: BrokerConfig, name: str, now_ns: int, counters: dict[str, int] | None = None
    ) -> None:
        self._heartbeat_ns = _ns(config.heartbeat_s)
        self._replica_lost_ns = _ns(config.replica_lost_after_s)
        self._robot_lost_ns = _ns(config.robot_lost_after_s)
        self._state = RouterState(Counters(counters), config.external)
        self._state.out.audited = config.audit_bytes > 0
        self._inquiries = Inquiries(self._state)
        idle_ns = _ns(config.session_idle_s)
        self._robot_handlers = RobotHandlers(self._state, self._inquiries, idle_ns)
        self._replica_handlers = ReplicaHandlers(
            self._state, self._inquiries, name, config.heartbeat_s
        )
        self._signals = ServiceSignals(config.targets)
        self._ticked_ns = now_ns
        self._beat_ns = now_ns

    @property
    def counters(self) -> Counters:
        """What was counted so far, by all incarnations."""
        return self._state.counters

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return len(self._state.sessions)

    def knows(self, stops: str) -> None:
        """The digest of the stops of the site that the broker knows, for its heartbeats."""
        self._state.stops = stops

    def answers(self) -> list[Answered]:
        """The requests that were answered since the last call, where `audit_bytes` keeps them."""
        return self._state.out.take_answers()

    def reconfigured(self, config: BrokerConfig) -> None:
        """The fleet file says something else of its services now."""
        self._state.external, self._signals.targets = config.external, config.targets

    def ignores(self, identity: bytes, now_ns: int) -> bool:
        """Whether to drop a message of `identity` unread, because it is in quarantine."""
        if not self._state.quarantine.holds(identity, now_ns):
            return False
        self.counters.count("quarantined", label(identity))
        return True

    def malformed(
        self, identity: bytes, error: WireError, now_ns: int, asked: Header | None = None
    ) -> list[Effect]:
        """A message broke a rule of the protocol and was dropped. `asked`: its header if a robot
        sent it, which gets an answer where it waits for one."""
        self._state.violation(identity, label(identity), error.reason, now_ns)
        answer = unreadable(asked.kind, error) if asked is not None else None
        if asked is not None and answer is not None:
            self._state.out.send_to_robot(identity, asked, answer)
        return self._state.out.take()

    def revoked(self, keys: Collection[str], now_ns: int) -> list[Effect]:
        """These public keys (Z85) were revoked: sessions and places of their holders end."""
        state = self._state
        for session in state.sessions:
            if session.peer.key in keys:
                gone = Event(what="lost", message="the key of this robot was revoked at the broker")
                state.out.send_to_robot(session.peer.identity, session.opening.header, gone)
                state.close(session, "revoked")
                state.out.log(now_ns, logging.WARNING, "key revoked", robot=session.robot)
        for replica in state.registry:
            if replica.peer.key in keys:
                state.remove_replica(replica, "revoked", now_ns)
        return state.out.take()

    def from_robot(self, peer: Peer, message: Received, now_ns: int) -> list[Effect]:
        """A robot sent `message`."""
        if not self._robot_handlers.accepts(message.header.kind):
            kind = message.header.kind.name
            wrong = WireError("kind-from-robot", f"robots do not send {kind}")
            return self.malformed(peer.identity, wrong, now_ns)
        self._robot_handlers.receive(peer, message, now_ns)
        return self._state.out.take()

    def from_replica(self, peer: Peer, robot: str, message: Received, now_ns: int) -> list[Effect]:
        """A replica sent `message`, about `robot` or (empty) about itself."""
        if not self._replica_handlers.accepts(message.header.kind, robot):
            kind = message.header.kind.name
            wrong = WireError("kind-from-replica", f"replicas do not send {kind} there")
            return self.malformed(peer.identity, wrong, now_ns)
        self._replica_handlers.receive(peer, robot, message, now_ns)
        return self._state.out.take()

    def undelivered(self, effect: ToRobot | ToReplica, why: Why, now_ns: int) -> list[Effect]:
        """A send failed. Requests wait for the next `retry`, replies are dropped; an unreachable
        replica is removed, an unreachable robot may come back until its session ends."""
        if isinstance(effect, ToRobot):
            self._undelivered_to_robot(effect, why)
        else:
            self._undelivered_to_replica(effect, why, now_ns)
        return self._state.out.take()

    def tick(self, now_ns: int) -> list[Effect]:
        """Let time pass: call it several times per heartbeat, after the sockets were drained."""
        state = self._state
        state.turns += 1
        absence_ns = now_ns - self._ticked_ns
        self._ticked_ns = now_ns
        if absence_ns > ABSENT_NS:
            self._shift(absence_ns, now_ns)
        self._watch_replicas(now_ns)
        for session in state.sessions.silent(now_ns - self._robot_lost_ns):
            state.close(session, "robot-silent")
        for session in state.sessions.awaiting():
            if not session.settled and now_ns - session.placed_ns >= ANSWER_OPEN_NS:
                session.refused.add(session.replica)
                state.fail_over(session, "its replica did not answer the OPEN", now_ns)
        self._signals.tick(state, now_ns)
        state.waiting.expire(now_ns - EXPIRED_NS)
        state.notify_waiters(now_ns)
        state.callers.expire(now_ns - self._robot_lost_ns)
        state.refused.expire(now_ns)
        self._inquiries.tick(now_ns)
        state.send_again()
        for replica in state.registry:
            if replica.draining:
                state.drain(replica, now_ns)
        if now_ns - self._beat_ns >= self._heartbeat_ns:
            self._beat_ns = now_ns
            self._probe_replicas()
        return state.out.take()

    def retry(self, now_ns: int) -> list[Effect]:
        """Send again what full sockets did not take, while `waits`: sooner than the next tick."""
        self._inquiries.tick(now_ns)
        self._state.send_again()
        return self._state.out.take()

    def disconnected(self, now_ns: int) -> list[Effect]:
        """A connection broke, the monitor does not say whose: probe every peer."""
        self._probe_replicas()
        for session in self._state.sessions:
            beat = Heartbeat(progress=self._state.turns)
            self._state.out.send_to_robot(session.peer.identity, session.opening.header, beat)
        return self._state.out.take()

    def shutdown(self) -> list[Effect]:
        """The broker stops: notify every robot, which would otherwise wait for heartbeats."""
        for session in self._state.sessions:
            gone = Event(what="lost", message="the broker stops; open a new session")
            self._state.out.send_to_robot(session.peer.identity, session.opening.header, gone)
        return self._state.out.take()

    def waits(self) -> bool:
        """Whether something was not sent yet, so that a `retry` is due soon."""
        return self._state.waits or self._inquiries.waits()

    def status(self, now_ns: int, rows: int = 48) -> dict[str, Any]:
        """The routing as plain values, with at most `rows` rows in each table."""
        return status_of(self._state, self._signals, now_ns, rows)

    def _watch_replicas(self, now_ns: int) -> None:
        """Suspect the replicas whose answers are overdue; remove those without progress."""
        state = self._state
        oldest_ns: dict[bytes, int] = {}
        for session in state.sessions.awaiting():
            if session.owes_answer:
                request = session.request
                asked_ns = request.asked_ns if session.settled and request else session.placed_ns
                since_ns = oldest_ns.get(session.replica, asked_ns)
                oldest_ns[session.replica] = min(asked_ns, since_ns)
        for replica in state.registry:
            owed_since_ns = oldest_ns.get(replica.identity)
            if owed_since_ns is not None:
                replica.owed_ns = now_ns
            lost_after_ns = replica.lost_after_ns(self._replica_lost_ns, now_ns)
            if now_ns - replica.progress_ns >= lost_after_ns:
                silent = now_ns - replica.heard_ns >= lost_after_ns
                state.remove_replica(replica, "silent" if silent else "hung", now_ns)
            elif owed_since_ns is not None:
                waited_ns = now_ns - max(owed_since_ns, replica.progress_ns)
                if replica.suspect or waited_ns >= replica.overdue_ns:
                    state.suspect(replica, now_ns)

    def _undelivered_to_robot(self, effect: ToRobot, why: Why) -> None:
        kind = effect.header.kind.name.lower()
        self.counters.count(f"robot-{why}-{kind}", label(effect.identity))
        session = self._state.sessions.of(name_of(effect.identity))
        if session is None or session.peer.identity != effect.identity or why != "unreachable":
            return
        session.reachable = False
        if effect.header.kind in (Kind.REPLY, Kind.ERROR):
            session.undelivered = effect

    def _undelivered_to_replica(self, effect: ToReplica, why: Why, now_ns: int) -> None:
        state = self._state
        kind = effect.header.kind
        self.counters.count(f"replica-{why}-{kind.name.lower()}", label(effect.identity))
        replica = state.registry.at(effect.identity)
        if replica is None:
            return
        if why == "unreachable":
            state.remove_replica(replica, "unreachable", now_ns)
            return
        if kind is Kind.INQUIRY:
            self._inquiries.unsent(effect)
            return
        if kind is Kind.CLOSE:
            replica.closing.add((effect.robot, effect.header.epoch))
        if kind is Kind.DRAIN:
            replica.drained = False
        session = state.sessions.of(effect.robot)
        if (
            session is None
            or session.replica != effect.identity
            or session.epoch != effect.header.epoch
        ):
            return
        if kind is Kind.OPEN:
            session.opened = False
            state.unsent(session)
        request = session.request
        if kind is Kind.REQUEST and request is not None and request.seq == effect.header.seq:
            request.sent = False
            state.unsent(session)

    def _shift(self, absence_ns: int, now_ns: int) -> None:
        """Discount a pause of this process: messages of that time are still in the sockets."""
        self.counters.count("broker-absences")
        for replica in self._state.registry:
            replica.shift(absence_ns, now_ns)
        for session in self._state.sessions:
            session.shift(absence_ns, now_ns)
        self._state.callers.shift(absence_ns, now_ns)
        self._inquiries.shift(absence_ns, now_ns)

    def _probe_replicas(self) -> None:
        beat = Heartbeat(progress=self._state.turns)
        for replica in self._state.registry:
            self._state.out.send_to_replica(replica.identity, Header(Kind.HEARTBEAT), beat)

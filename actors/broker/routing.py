"""Routing: the broker's decisions, without sockets and without a clock.

Messages, failed sends and `now` go in, effects come out; the shell carries them out in their order
and reports what could not be delivered. It guarantees, whatever peers do:

- exactly one reply reaches a robot for each request that is not superseded, as long as a replica
  that may answer it lives; none is delivered twice, to another robot or from a replica given up;
- no replica holds more sessions than it offered, and a session that ends frees its place;
- nothing queues: one outstanding request per robot, the newest;
- what one peer does or fails to do changes nothing for sessions of other peers.

It keeps nothing on disk. After a restart robots are told that their session is lost and replicas
that they are not registered, and both come back by themselves. What it cannot do is tell apart two
robots that use the same name, incarnation and epoch: their keys must.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Literal

from ...errors import WireError
from ...transport.header import Header, Kind
from ...transport.messages import Event, Heartbeat, unreadable
from ..runtime.configs import BrokerConfig
from .counters import Counters
from .effects import Effect, Received, ToReplica, ToRobot
from .inquiries import Inquiries
from .peers import Peer, label
from .replica_handlers import ReplicaHandlers
from .robot_handlers import RobotHandlers
from .router_state import RouterState
from .routing_status import status_of
from .sessions import RoutedSession
from .waiting import FORGOTTEN_NS

ANSWER_OPEN_NS = 5_000_000_000
"""How long a live replica may take to answer an OPEN: it validates, it does not load anything."""
ABSENT_NS = 1_000_000_000
"""A pause of the broker itself, from which silence of its peers cannot be told."""

Why = Literal["full", "unreachable"]


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


class Routing:
    """The pure core of the broker. `name` and `incarnation` are told to replicas."""

    def __init__(
        self, config: BrokerConfig, name: str, now: int, counters: dict[str, int] | None = None
    ) -> None:
        self._heartbeat_ns = _ns(config.heartbeat_s)
        self._replica_lost_ns = _ns(config.replica_lost_after_s)
        self._robot_lost_ns = _ns(config.robot_lost_after_s)
        self._idle_ns = _ns(config.session_idle_s)
        self._placement = RouterState(Counters(counters))
        self._inquiries = Inquiries(self._placement)
        self._front = RobotHandlers(self._placement, self._inquiries)
        self._back = ReplicaHandlers(self._placement, self._inquiries, name, config.heartbeat_s)
        self._ticked_at = now
        self._beat_at = now

    @property
    def tally(self) -> Counters:
        """What was counted so far."""
        return self._placement.tally

    @property
    def sessions(self) -> int:
        """How many there are."""
        return len(self._placement.sessions)

    def ignores(self, identity: bytes, now: int) -> bool:
        """Whether to drop a message of `identity` before reading it: it is in quarantine."""
        if not self._placement.quarantine.holds(identity, now):
            return False
        self.tally.count("quarantined", label(identity))
        return True

    def malformed(
        self, identity: bytes, error: WireError, now: int, asked: Header | None = None
    ) -> list[Effect]:
        """A message broke the wire's limits and was dropped. `asked` is the header of a robot's:
        where it waits for an answer, it learns why there is none."""
        self._placement.violation(identity, label(identity), error.reason, now)
        answer = unreadable(asked.kind, error) if asked is not None else None
        if asked is not None and answer is not None:
            self._placement.tell_robot(identity, asked, answer)
        return self._placement.effects()

    def revoked(self, keys: Collection[str], now: int) -> list[Effect]:
        """These public keys are let in no more: what their holders have here ends."""
        placement = self._placement
        for session in placement.sessions:
            if session.peer.key in keys:
                gone = Event(what="lost", message="the key of this robot was revoked at the broker")
                placement.tell_robot(session.peer.identity, session.opening.header, gone)
                placement.close(session, "revoked")
                placement.note(now, logging.WARNING, "key revoked", robot=session.robot)
        for replica in placement.registry:
            if replica.peer.key in keys:
                placement.forget_replica(replica, "revoked", now)
        return placement.effects()

    def from_robot(self, peer: Peer, message: Received, now: int) -> list[Effect]:
        """A message came in at the front."""
        if not self._front.speaks(message.header.kind):
            kind = message.header.kind.name
            wrong = WireError("kind-from-robot", f"robots do not send {kind}")
            return self.malformed(peer.identity, wrong, now)
        self._front.receive(peer, message, now)
        return self._placement.effects()

    def from_replica(self, peer: Peer, robot: str, message: Received, now: int) -> list[Effect]:
        """A message came in at the back, about `robot` or (empty) about the replica itself."""
        if not self._back.speaks(message.header.kind, robot):
            kind = message.header.kind.name
            wrong = WireError("kind-from-replica", f"replicas do not send {kind} there")
            return self.malformed(peer.identity, wrong, now)
        self._back.receive(peer, robot, message, now)
        return self._placement.effects()

    def undelivered(self, effect: ToRobot | ToReplica, why: Why, now: int) -> list[Effect]:
        """A send failed. Requests wait for the next tick, replies are dropped; an unreachable
        replica is dead, an unreachable robot has until its session ends to come back."""
        if isinstance(effect, ToRobot):
            self._undelivered_to_robot(effect, why)
        else:
            self._undelivered_to_replica(effect, why, now)
        return self._placement.effects()

    def tick(self, now: int) -> list[Effect]:
        """Let time pass: call it some times per heartbeat, after the sockets were drained."""
        placement = self._placement
        placement.turns += 1
        absence = now - self._ticked_at
        self._ticked_at = now
        if absence > ABSENT_NS:
            self._forgive(absence)
        self._watch_replicas(now)
        for session in placement.sessions:
            self._tick_session(session, now)
        placement.waiting.expire(now - FORGOTTEN_NS)
        placement.call_waiting(now)
        placement.callers.expire(now - self._robot_lost_ns)
        self._inquiries.tick(now)
        for replica in placement.registry:
            placement.retry(replica, now)
        if now - self._beat_at >= self._heartbeat_ns:
            self._beat_at = now
            self._probe_replicas()
        return placement.effects()

    def disconnected(self, now: int) -> list[Effect]:
        """Some connection broke, nobody knows whose: speak to everyone, and see who is gone."""
        self._probe_replicas()
        for session in self._placement.sessions:
            beat = Heartbeat(progress=self._placement.turns)
            self._placement.tell_robot(session.peer.identity, session.opening.header, beat)
        return self._placement.effects()

    def farewell(self) -> list[Effect]:
        """The broker stops: robots learn it at once instead of missing its heartbeats."""
        for session in self._placement.sessions:
            gone = Event(what="lost", message="the broker stops; open a new session")
            self._placement.tell_robot(session.peer.identity, session.opening.header, gone)
        return self._placement.effects()

    def waits(self) -> bool:
        """Whether something could not be sent and wants a tick soon."""
        placement = self._placement
        if self._inquiries.waits() or any(replica.closing for replica in placement.registry):
            return True
        return any(
            not session.opened or (session.request is not None and not session.request.sent)
            for session in placement.sessions
        )

    def status(self, now: int, rows: int = 48) -> dict[str, Any]:
        """What people want to know, as plain values; at most `rows` of anything."""
        return status_of(self._placement, now, rows)

    def _watch_replicas(self, now: int) -> None:
        """Leave the replicas that answer too late, and forget those that make no progress."""
        placement = self._placement
        owed: dict[bytes, int] = {}
        for session in placement.sessions:
            if placement.owed(session):
                request = session.request
                asked_at = request.asked_at if session.settled and request else session.placed_at
                owed[session.replica] = min(asked_at, owed.get(session.replica, asked_at))
        for replica in placement.registry:
            since = owed.get(replica.identity)
            if since is not None:
                replica.owed_at = now
            lost_after = replica.lost_after_ns(self._replica_lost_ns, now)
            if now - replica.progress_at >= lost_after:
                silent = now - replica.heard_at >= lost_after
                placement.forget_replica(replica, "silent" if silent else "hung", now)
            elif since is not None and (
                replica.suspect or now - max(since, replica.progress_at) >= replica.overdue_ns
            ):
                placement.suspect(replica, now)

    def _tick_session(self, session: RoutedSession, now: int) -> None:
        placement = self._placement
        if now - session.seen_at >= self._robot_lost_ns:
            placement.close(session, "robot-silent")
        elif now - session.active_at >= self._idle_ns:
            placement.lose(session, "no request for so long that its place was given up", now)
        elif not session.settled and now - session.placed_at >= ANSWER_OPEN_NS:
            session.refused.add(session.replica)
            placement.rescue(session, "its replica did not answer the OPEN", now)
        else:
            placement.push(session)

    def _undelivered_to_robot(self, effect: ToRobot, why: Why) -> None:
        kind = effect.header.kind.name.lower()
        self.tally.count(f"robot-{why}-{kind}", label(effect.identity))
        for session in self._placement.sessions:
            if session.peer.identity == effect.identity and why == "unreachable":
                session.reachable = False

    def _undelivered_to_replica(self, effect: ToReplica, why: Why, now: int) -> None:
        placement = self._placement
        kind = effect.header.kind
        self.tally.count(f"replica-{why}-{kind.name.lower()}", label(effect.identity))
        replica = placement.registry.at(effect.identity)
        if replica is None:
            return
        if why == "unreachable":
            placement.forget_replica(replica, "unreachable", now)
            return
        if kind is Kind.INQUIRY:
            self._inquiries.unsent(effect)
            return
        if kind is Kind.CLOSE:
            replica.closing.add((effect.robot, effect.header.epoch))
        if kind is Kind.DRAIN:
            replica.drained = False
        session = placement.sessions.of(effect.robot)
        if (
            session is None
            or session.replica != effect.identity
            or session.epoch != effect.header.epoch
        ):
            return
        if kind is Kind.OPEN:
            session.opened = False
        request = session.request
        if kind is Kind.REQUEST and request is not None and request.seq == effect.header.seq:
            request.sent = False

    def _forgive(self, absence: int) -> None:
        """This process was away (stopped, starved): what others did meanwhile waits in sockets."""
        self.tally.count("broker-absences")
        for replica in self._placement.registry:
            replica.progress_at += absence
            replica.heard_at += absence
        for session in self._placement.sessions:
            session.seen_at += absence
            session.placed_at += absence
            if session.request is not None:
                session.request.asked_at += absence
        self._placement.callers.forgive(absence)
        self._inquiries.forgive(absence)

    def _probe_replicas(self) -> None:
        beat = Heartbeat(progress=self._placement.turns)
        for replica in self._placement.registry:
            self._placement.tell_replica(replica.identity, Header(Kind.HEARTBEAT), beat)

"""`RouterState`: which session is at which replica.

All changes to the two tables happen here, and each leaves them consistent: a session is at a
registered replica or it does not exist. A session that loses its replica is opened at another one
with the robot's stored OPEN, and its outstanding request, which the broker still holds, follows at
once; the robot sees a longer delay and nothing else. The robot gets exactly one reply, because only
the session's present replica may answer, and only once.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from ...transport.bodies import Body, Close, Drain, Error, Event, Reject
from ...transport.header import Header, Kind
from ...transport.limits import DEFAULT
from .callers import Callers
from .counters import Counters
from .effect_queue import EffectQueue
from .placement import Placement
from .quarantine import Quarantine
from .refused_replicas import RefusedReplicas
from .replica_choice import RETRY_AFTER_S, with_room
from .replicas import Registry, Replica
from .sessions import Outstanding, RoutedSession, Sessions
from .waiting import HOLDOFF_NS, Waiter, Waiting

RETRYABLE = ("capacity", "draining")
"""Reasons of a REJECT that concern the replica, not the robot: another replica may accept."""
MOST_FAILURES = 2
"""How many replicas may die or hang while they have one request."""


class RouterState:
    """The tables of the routing and the transitions between their states. What they send is put
    into `out`; instants are monotonic ns of this host."""

    def __init__(self, counters: Counters, external: Collection[str] = ()) -> None:
        self.external = external
        """The services that scripts serve."""
        self.registry = Registry()
        self.refused = RefusedReplicas()
        self.sessions = Sessions()
        self.placement = Placement(self.registry, self.sessions)
        self.counters = counters
        self.quarantine = Quarantine()
        self.callers = Callers()
        self.waiting = Waiting()
        self.out = EffectQueue()
        self.turns = 0
        """The broker's own progress, sent in its heartbeats."""
        self.stops = ""
        """The digest of the stops of the site that the broker knows, likewise."""
        self._unsent: dict[str, None] = {}
        """The robots whose OPEN or request a full socket did not take, in order."""

    def violation(self, identity: bytes, name: str, reason: str, now_ns: int) -> None:
        """Count a broken rule against a peer; quarantine one that keeps breaking rules."""
        self.counters.count(reason, name)
        self.out.log(now_ns, logging.WARNING, "rule broken", peer=name, reason=reason)
        if self.quarantine.violated(identity, now_ns):
            self.counters.count("quarantines", name)
            self.out.log(now_ns, logging.ERROR, "peer quarantined", peer=name, reason=reason)

    # Sessions begin

    def open(self, session: RoutedSession, now_ns: int) -> bool:
        """Begin `session` at the best replica of its service; False when none has room. The
        robot's previous session, if any, ends either way."""
        before = self.sessions.of(session.robot)
        if before is not None:
            self.sessions.remove(before)
            if before.request is not None:
                self.counters.count("superseded", session.robot)
            self._close_at_replica(before)
        place = self.placement.place(session.asked)
        if place is None:
            return False
        self.waiting.discard(session.robot)
        self._assign(session, place, now_ns)
        return True

    def send_pending(self, session: RoutedSession) -> None:
        """Send the OPEN, then the request, to the session's replica where that is still to do."""
        if not session.opened:
            # Ends of earlier sessions go first: they free the place, and may be this robot's own.
            self._send_closings(session.replica)
            session.opened = True
            self.out.forward_to_replica(session, session.opening)
        request = session.request
        if request is not None and not request.sent:
            request.sent = True
            self.out.forward_to_replica(session, request.message)

    def unsent(self, session: RoutedSession) -> None:
        """A full socket did not take the OPEN or the request of `session`."""
        self._unsent[session.robot] = None

    @property
    def waits(self) -> bool:
        """Whether something is to be sent again."""
        return bool(self._unsent) or any(replica.closing for replica in self.registry)

    def send_again(self) -> None:
        """Send what full sockets did not take. Costs no look at sessions that wait for nothing."""
        for replica in self.registry:
            self._send_closings(replica.identity)
        waiting, self._unsent = self._unsent, {}
        for robot in waiting:
            if (session := self.sessions.of(robot)) is not None:
                self.send_pending(session)

    # Robots wait

    def add_waiter(self, session: RoutedSession, now_ns: int) -> None:
        """Notify the robot of `session` later, when its service has room."""
        about = session.opening.header
        waiter = Waiter(session.peer.identity, about, session.service, now_ns)
        self.waiting.add(session.robot, waiter)

    def notify_waiters(self, now_ns: int) -> None:
        """Notify the robots that wait for a service that has room."""
        loads = self.placement.loads()
        for service in self.waiting.services():
            if with_room(self.registry, loads, service):
                self._notify(service, now_ns - HOLDOFF_NS)

    def _notify(self, service: str, before_ns: int) -> None:
        for waiter in self.waiting.take(service, before_ns):
            self.counters.count("called")
            available = Event(what="available", message=service)
            self.out.send_to_robot(waiter.identity, waiter.about, available)

    # Replicas come, hang and go

    def register(self, replica: Replica, now_ns: int) -> None:
        """Add a replica. Sessions of the previous incarnation of its name fail over, maybe to it.

        The robots that wait for its service are notified.
        """
        before = self.registry.named(replica.name)
        if before is not None:
            self.registry.remove(before)
        self.registry.add(replica)
        self.refused.discard(replica.name)
        self.out.log(now_ns, logging.INFO, "replica registered", replica=replica.name)
        if before is not None:
            self.counters.count("replica-replaced", replica.name)
            alive = before.identity == replica.identity
            why = "registered anew" if alive else "was replaced by its next incarnation"
            self._fail_over_all(before, why, now_ns, failed=not alive)
        self._notify(replica.service, now_ns)

    def remove_replica(self, replica: Replica, why: str, now_ns: int) -> None:
        """Remove a replica (`why`: hung, silent, unreachable, ...); its sessions fail over."""
        self.registry.remove(replica)
        self.counters.count(f"replica-{why}", replica.name)
        self.out.log(now_ns, logging.WARNING, f"replica {why}", replica=replica.name)
        self._fail_over_all(replica, f"is {why}", now_ns, failed=why != "revoked")

    def suspect(self, replica: Replica, now_ns: int) -> None:
        """Mark a replica whose answers are overdue. Sessions that wait for an answer and can go on
        at another replica do so; the others stay, and the replica stays registered."""
        if not replica.suspect:
            replica.suspect = True
            self.counters.count("replica-overdue", replica.name)
            self.out.log(now_ns, logging.WARNING, "replica overdue", replica=replica.name)
        for session in self.sessions.on(replica):
            target = self.placement.failover_target(session)
            if session.owes_answer and target is not None and not target.suspect:
                self._record_failure(session, replica)
                self.fail_over(session, f"replica {replica.name} does not answer", now_ns)

    def drain(self, replica: Replica, now_ns: int) -> None:
        """Move what can move off a draining replica, notify the robots that have to stay, and
        notify the replica, once, when there is nothing left to wait for: one that stops waits for
        answers and for moves, one that only drains also for room elsewhere."""
        for session in self.sessions.on(replica):
            target = self.placement.failover_target(session)
            if target is None and session.terms is not None and not session.drain_reported:
                session.drain_reported = True
                why = f"replica {replica.name} drains; the session moves as soon as it can"
                draining = Event(what="draining", message=why)
                self._send_event(session, draining)
            elif target is not None and session.request is None and session.settled:
                self._close_at_replica(session)
                self._move(session, target, now_ns)
        waits = [
            session
            for session in self.sessions.on(replica)
            if not replica.stopping
            or session.request is not None
            or self.placement.failover_target(session)
        ]
        if not replica.drained and not waits:
            replica.drained = True
            self.out.send_to_replica(replica.identity, Header(Kind.DRAIN), Drain(reason="drained"))

    # Sessions move

    def fail_over(self, session: RoutedSession, why: str, now_ns: int) -> None:
        """Continue `session` at another replica after its own died or refused it, else end it."""
        # A request that two replicas failed with may be the reason: no third one gets it.
        if session.request is not None and len(session.request.failed) >= MOST_FAILURES:
            self._drop_request(session, session.request, now_ns)
        target = self.placement.failover_target(session)
        if target is None:
            self.lose(session, f"{why}, and no other of {session.service!r} can go on", now_ns)
            self.add_waiter(session, now_ns)
            return
        if session.request is not None:
            self.counters.count("replays", session.robot)
            seq = session.request.seq
            about = session.request.message.header
            self.out.log(
                now_ns, logging.INFO, "replayed", robot=session.robot, seq=seq, to=target.name
            )
            replayed = Event(what="replayed", message=why)
            self.out.send_to_robot(session.peer.identity, about, replayed)
        self._close_at_replica(session)
        self._move(session, target, now_ns)

    # Sessions end

    def close(self, session: RoutedSession, reason: str) -> None:
        """End `session` and send its replica a CLOSE."""
        if self.sessions.remove(session):
            self.counters.count(f"ended-{reason}")
            self._close_at_replica(session)

    def lose(self, session: RoutedSession, why: str, now_ns: int) -> None:
        """End `session` because no replica can serve it, and notify its robot."""
        if not self.sessions.remove(session):
            return
        self._close_at_replica(session)
        self.counters.count("lost", session.robot)
        self.out.log(now_ns, logging.WARNING, "session lost", robot=session.robot, why=why)
        if session.terms is not None:
            self._send_event(session, Event(what="lost", message=why))
        else:
            answer = Reject(reason="no-replica", message=why, retry_after_s=RETRY_AFTER_S)
            self._send_event(session, answer)

    # Steps of the above

    def _send_event(self, session: RoutedSession, body: Body) -> None:
        self.out.send_to_robot(session.peer.identity, session.opening.header, body)

    def _drop_request(self, session: RoutedSession, request: Outstanding, now_ns: int) -> None:
        session.request = None
        names = " and ".join(request.failed)
        self.counters.count("requests-given-up", session.robot)
        fields = {"robot": session.robot, "seq": request.seq, "replicas": names}
        self.out.log(now_ns, logging.ERROR, "request given up", **fields)
        words = f"replicas {names} died or hung while they had this request: it is not tried again"
        error = Error(reason="replicas-failed", message=words[: DEFAULT.max_text_chars])
        self.out.send_to_robot(session.peer.identity, request.message.header, error)

    def _record_failure(self, session: RoutedSession, replica: Replica) -> None:
        """Record that `replica` failed while it had the request of `session`."""
        request = session.request
        if request is not None and request.sent:
            request.failed = (*request.failed, replica.name)
            self.counters.count("replica-failed-with-request", session.robot)

    def _fail_over_all(self, replica: Replica, why: str, now_ns: int, failed: bool) -> None:
        for session in self.sessions.on(replica):
            if failed:
                self._record_failure(session, replica)
            self.fail_over(session, f"replica {replica.name} {why}", now_ns)

    def _move(self, session: RoutedSession, target: Replica, now_ns: int) -> None:
        self.counters.count("moves", session.robot)
        self._assign(session, target, now_ns)

    def _assign(self, session: RoutedSession, replica: Replica, now_ns: int) -> None:
        self.sessions.place(session, replica, now_ns)
        self.placement.came(session.robot, replica)
        self.send_pending(session)

    def _close_at_replica(self, session: RoutedSession) -> None:
        replica = self.registry.at(session.replica)
        if replica is not None and session.opened:
            self._send_close(replica, session.robot, session.epoch)

    def _send_closings(self, identity: bytes) -> None:
        replica = self.registry.at(identity)
        if replica is not None:
            waiting, replica.closing = replica.closing, set()
            for robot, epoch in sorted(waiting):
                self._send_close(replica, robot, epoch)

    def _send_close(self, replica: Replica, robot: str, epoch: int) -> None:
        header = Header(Kind.CLOSE, epoch=epoch)
        self.out.send_to_replica(replica.identity, header, Close(), robot)

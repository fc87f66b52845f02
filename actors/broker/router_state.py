"""Which session is at which replica: opening, moving, replaying, ending.

All changes to the two tables happen here, and every one leaves them consistent: a session is at a
registered replica or it does not exist. A session that loses its replica is opened at another one
with the robot's stored OPEN, and its outstanding request, which the broker still holds, follows it
at once; the robot sees a longer delay and nothing else. Exactly one reply reaches it, because only
the replica at hand may answer, and only once.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

from ...transport.header import Header, Kind
from ...transport.limits import DEFAULT
from ...transport.messages import KINDS, Body, Close, Drain, Error, Event, Reject
from .callers import Callers
from .counters import Counters
from .effects import Effect, Received, ToReplica, ToRobot
from .quarantine import Quarantine
from .rate_limited_log import RateLimitedLog
from .replica_choice import RETRY_AFTER_S, has_room, place_for, refuge_for
from .replicas import Registry, Replica
from .sessions import Outstanding, RoutedSession, Sessions
from .waiting import HOLDOFF_NS, Waiter, Waiting

RETRYABLE = ("capacity", "draining")
"""Refusals that are about the replica, not about the robot: another one may say yes."""
MOST_FAILURES = 2
"""So many replicas may die or hang with one request."""
MAX_HOMES = 4096
"""Robots whose last replica is remembered after their session ended."""


class RouterState:
    """The state of the routing, and the moves that are possible in it."""

    def __init__(self, tally: Counters) -> None:
        self.registry = Registry()
        self.sessions = Sessions()
        self.tally = tally
        self.quarantine = Quarantine()
        self.callers = Callers()
        self.waiting = Waiting()
        self.turns = 0
        """The broker's own progress, told in its heartbeats."""
        self._journal = RateLimitedLog()
        self._homes: OrderedDict[str, str] = OrderedDict()
        self._effects: list[Effect] = []

    # What comes out

    def effects(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def tell_robot(self, identity: bytes, about: Header, body: Body) -> None:
        """Say something of the broker's own to a robot, about the message or session `about`."""
        header = about._replace(kind=KINDS[type(body)])
        self._effects.append(ToRobot(identity, header, body))

    def pass_to_robot(self, session: RoutedSession, message: Received) -> None:
        """Hand a replica's message on to the session's robot, as it came."""
        self._effects.append(ToRobot(session.peer.identity, message.header, message.frames))

    def tell_replica(self, identity: bytes, about: Header, body: Body, robot: str = "") -> None:
        """Say something of the broker's own to a replica."""
        header = about._replace(kind=KINDS[type(body)])
        self._effects.append(ToReplica(identity, robot, header, body))

    def pass_to_replica(self, session: RoutedSession, message: Received) -> None:
        """Hand a robot's message on to its session's replica, as it came."""
        header, frames = message.header, message.frames
        self._effects.append(ToReplica(session.replica, session.robot, header, frames))

    def note(self, now: int, level: int, event: str, **fields: Any) -> None:
        """Write a line, at a bounded rate."""
        self._effects += self._journal.note(now, level, event, **fields)

    def violation(self, identity: bytes, name: str, reason: str, now: int) -> None:
        """Count a broken rule against a peer; stop listening to one that keeps breaking them."""
        self.tally.count(reason, name)
        self.note(now, logging.WARNING, "rule broken", peer=name, reason=reason)
        if self.quarantine.violated(identity, now):
            self.tally.count("quarantines", name)
            self.note(now, logging.ERROR, "peer quarantined", peer=name, reason=reason)

    # Sessions begin

    def open(self, session: RoutedSession, now: int) -> bool:
        """Begin `session` at the best replica of its service; False when none has room. Whatever
        session its robot had before is over either way."""
        before = self.sessions.of(session.robot)
        if before is not None:
            self.sessions.remove(before)
            if before.request is not None:
                self.tally.count("superseded", session.robot)
            self._close_at_replica(before)
        place = self.place(session.robot, session.service)
        if place is None:
            return False
        self.waiting.discard(session.robot)
        self.sessions.add(session)
        self._put(session, place, now)
        return True

    def place(self, robot: str, service: str) -> Replica | None:
        """Where a session of `robot` would begin; the place of its present one counts as free."""
        loads = self.sessions.loads()
        present = self.sessions.of(robot)
        if present is not None:
            loads[present.replica] -= 1
        return place_for(self.registry, loads, service, self._homes.get(robot))

    def push(self, session: RoutedSession) -> None:
        """Send what the replica at hand has not been sent yet: the OPEN, then the request."""
        if not session.opened:
            # Ends of earlier sessions go first: they free the place, and may be this robot's own.
            self._deliver_closings(session.replica)
            session.opened = True
            self.pass_to_replica(session, session.opening)
        request = session.request
        if request is not None and not request.sent:
            request.sent = True
            self.pass_to_replica(session, request.message)

    # Sessions move

    def enlist(self, replica: Replica, now: int) -> None:
        """Put a replica on the list; what an earlier one of its name had moves, maybe to it."""
        before = self.registry.named(replica.name)
        if before is not None:
            self.registry.remove(before)
        self.registry.add(replica)
        self.note(now, logging.INFO, "replica registered", replica=replica.name)
        if before is not None:
            self.tally.count("replica-replaced", replica.name)
            alive = before.identity == replica.identity
            how = "registered anew" if alive else "was replaced by its next incarnation"
            self._abandon(before, how, now, failed=not alive)
        self._call(replica.service, now)

    def wait_for_place(self, session: RoutedSession, now: int) -> None:
        """`session`'s robot was told that nobody has room for it; it is told when somebody has."""
        about = session.opening.header
        waiter = Waiter(session.peer.identity, about, session.service, now)
        self.waiting.add(session.robot, waiter)

    def call_waiting(self, now: int) -> None:
        """Tell those that wait for a place of the services that have one."""
        loads = self.sessions.loads()
        for service in self.waiting.services():
            if any(has_room(replica, loads) for replica in self.registry.of(service)):
                self._call(service, now - HOLDOFF_NS)

    def _call(self, service: str, before: int) -> None:
        for waiter in self.waiting.take(service, before):
            self.tally.count("called")
            there = Event(what="available", message=service)
            self.tell_robot(waiter.identity, waiter.about, there)

    def forget_replica(self, replica: Replica, why: str, now: int) -> None:
        """Take a dead replica (`why`: hung, silent, unreachable) off the list and move its all."""
        self.registry.remove(replica)
        self.tally.count(f"replica-{why}", replica.name)
        self.note(now, logging.WARNING, f"replica {why}", replica=replica.name)
        self._abandon(replica, f"is {why}", now, failed=why != "revoked")

    def suspect(self, replica: Replica, now: int) -> None:
        """`replica` owes answers for longer than any took: whoever waits for one and can go on
        elsewhere, does. It keeps its other sessions, and its place on the list, until it is lost.
        """
        if not replica.suspect:
            replica.suspect = True
            self.tally.count("replica-overdue", replica.name)
            self.note(now, logging.WARNING, "replica overdue", replica=replica.name)
        for session in self.sessions.on(replica):
            refuge = self.refuge(session)
            if self.owed(session) and refuge is not None and not refuge.suspect:
                self._blame(session, replica)
                self.rescue(session, f"replica {replica.name} does not answer", now)

    @staticmethod
    def owed(session: RoutedSession) -> bool:
        """Whether the replica at hand has something to answer."""
        request = session.request
        return session.opened and (not session.settled or (request is not None and request.sent))

    def rescue(self, session: RoutedSession, why: str, now: int) -> None:
        """Go on with `session` elsewhere after its replica died or refused it; or give it up. A
        request that two replicas failed with is not tried on a third: it may be the reason."""
        if session.request is not None and len(session.request.failed) >= MOST_FAILURES:
            self._give_up_request(session, session.request, now)
        refuge = self.refuge(session)
        if refuge is None:
            self.lose(session, f"{why}, and no other of {session.service!r} can go on", now)
            self.wait_for_place(session, now)
            return
        if session.request is not None:
            self.tally.count("replays", session.robot)
            seq = session.request.seq
            about = session.request.message.header
            self.note(now, logging.INFO, "replayed", robot=session.robot, seq=seq, to=refuge.name)
            self.tell_robot(session.peer.identity, about, Event(what="replayed", message=why))
        self._close_at_replica(session)
        self._move(session, refuge, now)

    def drain(self, replica: Replica, now: int) -> None:
        """Move what can move off a draining replica, tell the robots that have to stay, and tell
        the replica, once, when nothing is left to wait for: one that stops waits for answers and
        for moves, one that only drains also for room elsewhere."""
        for session in self.sessions.on(replica):
            refuge = self.refuge(session)
            if refuge is None and session.terms is not None and not session.told_draining:
                session.told_draining = True
                why = f"replica {replica.name} drains; the session moves as soon as it can"
                about = session.opening.header
                self.tell_robot(session.peer.identity, about, Event(what="draining", message=why))
            elif refuge is not None and session.request is None and session.settled:
                self._close_at_replica(session)
                self._move(session, refuge, now)
        waits = [
            session
            for session in self.sessions.on(replica)
            if not replica.stopping or session.request is not None or self.refuge(session)
        ]
        if not replica.drained and not waits:
            replica.drained = True
            self.tell_replica(replica.identity, Header(Kind.DRAIN), Drain(reason="drained"))

    # Sessions end

    def close(self, session: RoutedSession, reason: str) -> None:
        """End `session` and tell its replica."""
        if self.sessions.remove(session):
            self.tally.count(f"ended-{reason}")
            self._close_at_replica(session)

    def lose(self, session: RoutedSession, why: str, now: int) -> None:
        """End `session` because nobody can serve it, and tell its robot, which will reconnect."""
        if not self.sessions.remove(session):
            return
        self._close_at_replica(session)
        self.tally.count("lost", session.robot)
        self.note(now, logging.WARNING, "session lost", robot=session.robot, why=why)
        if session.terms is not None:
            answer: Body = Event(what="lost", message=why)
        else:
            answer = Reject(reason="no-replica", message=why, retry_after_s=RETRY_AFTER_S)
        self.tell_robot(session.peer.identity, session.opening.header, answer)

    def retry(self, replica: Replica, now: int) -> None:
        """Do again what could not be done at once: ends of sessions, moves off a draining one."""
        self._deliver_closings(replica.identity)
        if replica.draining:
            self.drain(replica, now)

    def _deliver_closings(self, identity: bytes) -> None:
        replica = self.registry.at(identity)
        if replica is not None:
            waiting, replica.closing = replica.closing, set()
            for robot, epoch in sorted(waiting):
                self._say_close(replica, robot, epoch)

    def refuge(self, session: RoutedSession) -> Replica | None:
        """Where `session` could go on, if anywhere; its own place there counts as free."""
        loads = self.sessions.loads()
        loads[session.replica] -= 1
        return refuge_for(self.registry, loads, session)

    def _give_up_request(self, session: RoutedSession, request: Outstanding, now: int) -> None:
        session.request = None
        names = " and ".join(request.failed)
        self.tally.count("requests-given-up", session.robot)
        self.note(
            now,
            logging.ERROR,
            "request given up",
            robot=session.robot,
            seq=request.seq,
            replicas=names,
        )
        words = f"replicas {names} died or hung while they had this request: it is not tried again"
        error = Error(reason="replicas-failed", message=words[: DEFAULT.max_text_chars])
        self.tell_robot(session.peer.identity, request.message.header, error)

    def _blame(self, session: RoutedSession, replica: Replica) -> None:
        """Note that `replica` failed while it had the request of `session`."""
        request = session.request
        if request is not None and request.sent:
            request.failed = (*request.failed, replica.name)
            self.tally.count("replica-failed-with-request", session.robot)

    def _abandon(self, replica: Replica, why: str, now: int, failed: bool = True) -> None:
        for session in self.sessions.on(replica):
            if failed:
                self._blame(session, replica)
            self.rescue(session, f"replica {replica.name} {why}", now)

    def _put(self, session: RoutedSession, replica: Replica, now: int) -> None:
        session.replica = replica.identity
        session.opened = session.settled = session.told_draining = False
        session.placed_at = now
        if session.request is not None:
            session.request.sent = False
            session.request.asked_at = now
        self._homes[session.robot] = replica.name
        self._homes.move_to_end(session.robot)
        if len(self._homes) > MAX_HOMES:
            self._homes.popitem(last=False)
        self.push(session)

    def _move(self, session: RoutedSession, refuge: Replica, now: int) -> None:
        self.tally.count("moves", session.robot)
        self._put(session, refuge, now)

    def _close_at_replica(self, session: RoutedSession) -> None:
        replica = self.registry.at(session.replica)
        if replica is not None and session.opened:
            self._say_close(replica, session.robot, session.epoch)

    def _say_close(self, replica: Replica, robot: str, epoch: int) -> None:
        self.tell_replica(replica.identity, Header(Kind.CLOSE, epoch=epoch), Close(), robot)

"""`Inquiries`: questions whether a robot would be accepted, on their way to a replica and back.

An inquiry is routed as its OPEN would be and answered once, within `ANSWER_NS`. It changes nothing:
no session begins, moves, ends or counts as heard of, and no place is reserved. So two robots that
get a positive verdict may have been offered the same last place.
"""

from __future__ import annotations

from collections import OrderedDict

from ...transport.bodies import Inquiry, Open, Reject, Verdict
from ...transport.header import Header
from .effects import Received, ToReplica
from .peers import Peer
from .replica_choice import RETRY_AFTER_S, refusal
from .replicas import Replica
from .router_state import RETRYABLE, RouterState
from .sessions import RoutedSession

ANSWER_NS = 2_000_000_000
"""How long an inquiry may take: only a person waits for it."""
MAX_INQUIRIES = 1024
"""Pending at once; a bound, because peers choose their names freely."""


class Inquiries:
    """The pending inquiries: the newest of each robot's name, as a session that never begins."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._counters = state.counters
        self._pending: OrderedDict[str, RoutedSession] = OrderedDict()

    def ask(self, peer: Peer, message: Received, now_ns: int) -> None:
        """Pass an inquiry to the replica that its OPEN would go to, or answer it."""
        inquiry = message.body
        assert isinstance(inquiry, Inquiry), "the shell decodes every INQUIRY"
        asked: Open = inquiry.open
        self._counters.count("inquiries")
        question = RoutedSession.unplaced(peer, message, now_ns)
        self._pending.pop(question.robot, None)
        state = self._state
        place = state.placement.place(asked)
        if place is None:
            loads = state.placement.loads()
            self._refuse(question, refusal(state.registry, loads, asked, state.external))
            return
        while len(self._pending) >= MAX_INQUIRIES:
            self._pending.popitem(last=False)
            self._counters.count("inquiries-dropped")
        self._pending[question.robot] = question
        self._assign(question, place)

    def answered(self, replica: Peer, robot: str, message: Received) -> None:
        """Pass a replica's verdict on, unless another replica may still accept."""
        question = self._pending.get(robot)
        if (
            question is None
            or question.replica != replica.identity
            or _echoed(message.header) != _echoed(question.opening.header)
        ):
            self._counters.count("late-verdict", replica.name)
            return
        verdict = message.body
        assert isinstance(verdict, Verdict), "the shell decodes every VERDICT"
        if verdict.reject is not None and verdict.reject.reason in RETRYABLE:
            question.refused.add(replica.identity)
            other = self._state.placement.failover_target(question)
            if other is not None:
                self._assign(question, other)
                return
        del self._pending[robot]
        self._state.out.forward_to_robot(question, message)

    def tick(self, now_ns: int) -> None:
        """Send what a full socket did not take; answer what no replica answered in time."""
        for robot, question in list(self._pending.items()):
            if now_ns - question.placed_ns < ANSWER_NS:
                if not question.opened:
                    self._send(question)
                continue
            del self._pending[robot]
            self._counters.count("inquiries-unanswered")
            words = f"a replica of {question.service!r} did not answer within 2 s"
            reject = Reject(
                reason="no-answer",
                message=f"{words}: it is busy, or of a release that knows no inquiries",
                retry_after_s=RETRY_AFTER_S,
            )
            self._refuse(question, reject)

    def shift(self, absence_ns: int, now_ns: int) -> None:
        """Discount an absence of the broker, which is over now."""
        for question in self._pending.values():
            question.shift(absence_ns, now_ns)

    def waits(self) -> bool:
        """Whether an inquiry was not sent yet, so that a tick is due soon."""
        return any(not question.opened for question in self._pending.values())

    def unsent(self, effect: ToReplica) -> None:
        """The replica's socket was full; the next tick tries again."""
        question = self._pending.get(effect.robot)
        if question is not None and question.replica == effect.identity:
            question.opened = False

    def _assign(self, question: RoutedSession, replica: Replica) -> None:
        question.replica = replica.identity
        self._send(question)

    def _send(self, question: RoutedSession) -> None:
        question.opened = True
        self._state.out.forward_to_replica(question, question.opening)

    def _refuse(self, question: RoutedSession, answer: Reject) -> None:
        identity, about = question.peer.identity, question.opening.header
        self._state.out.send_to_robot(identity, about, Verdict(reject=answer))


def _echoed(header: Header) -> tuple[int, int, int, int]:
    """The fields of the header that an answer echoes."""
    return header.seq, header.episode, header.epoch, header.token

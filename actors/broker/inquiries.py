"""Questions of the form "would you accept this robot?", on their way to a replica and back.

An inquiry is routed as its OPEN would be and answered once, within `ANSWER_NS`. It guarantees that
asking changes nothing: no session begins, moves, ends or counts as heard of, and no place is taken.
So two robots that are told yes, one after the other, may have been told of the same last place.
"""

from __future__ import annotations

from collections import OrderedDict

from ...transport.header import Header
from ...transport.messages import Inquiry, Open, Reject, Verdict
from .effects import Received, ToReplica
from .peers import Peer
from .replica_choice import RETRY_AFTER_S, refusal
from .replicas import Replica
from .router_state import RETRYABLE, RouterState
from .sessions import RoutedSession

ANSWER_NS = 2_000_000_000
"""How long a question may take: a person waits for it, nothing else does."""
MAX_INQUIRIES = 1024
"""At once; a bound, because names cost a peer nothing."""


class Inquiries:
    """Those under way: one per robot's name, the newest. Each is a session that never begins."""

    def __init__(self, placement: RouterState) -> None:
        self._placement = placement
        self._tally = placement.tally
        self._waiting: OrderedDict[str, RoutedSession] = OrderedDict()

    def ask(self, peer: Peer, message: Received, now: int) -> None:
        """Hand a robot's question to the replica that its OPEN would go to, or answer it."""
        inquiry = message.body
        assert isinstance(inquiry, Inquiry), "the shell decodes every INQUIRY"
        asked: Open = inquiry.open
        self._tally.count("inquiries")
        question = RoutedSession(
            peer=peer,
            opening=message,
            service=asked.service,
            replica=b"",
            seen_at=now,
            active_at=now,
            placed_at=now,
        )
        self._waiting.pop(question.robot, None)
        placement = self._placement
        place = placement.place(question.robot, question.service)
        if place is None:
            loads = placement.sessions.loads()
            self._refuse(question, refusal(placement.registry, loads, asked))
            return
        while len(self._waiting) >= MAX_INQUIRIES:
            self._waiting.popitem(last=False)
            self._tally.count("inquiries-dropped")
        self._waiting[question.robot] = question
        self._put(question, place)

    def answered(self, replica: Peer, robot: str, message: Received, now: int) -> None:
        """A replica's verdict: the asker's, unless another replica may say yes."""
        question = self._waiting.get(robot)
        if (
            question is None
            or question.replica != replica.identity
            or _about(message.header) != _about(question.opening.header)
        ):
            self._tally.count("late-verdict", replica.name)
            return
        verdict = message.body
        assert isinstance(verdict, Verdict), "the shell decodes every VERDICT"
        if verdict.reject is not None and verdict.reject.reason in RETRYABLE:
            question.refused.add(replica.identity)
            other = self._placement.refuge(question)
            if other is not None:
                self._put(question, other)
                return
        del self._waiting[robot]
        self._placement.pass_to_robot(question, message)

    def tick(self, now: int) -> None:
        """Send what did not fit, and answer what no replica has answered in time."""
        for robot, question in list(self._waiting.items()):
            if now - question.placed_at < ANSWER_NS:
                if not question.opened:
                    self._send(question)
                continue
            del self._waiting[robot]
            self._tally.count("inquiries-unanswered")
            words = f"a replica of {question.service!r} did not answer within 2 s"
            reject = Reject(
                reason="no-answer",
                message=f"{words}: it is busy, or of a release that knows no inquiries",
                retry_after_s=RETRY_AFTER_S,
            )
            self._refuse(question, reject)

    def forgive(self, absence: int) -> None:
        """The broker itself was away so long."""
        for question in self._waiting.values():
            question.placed_at += absence

    def waits(self) -> bool:
        """Whether something could not be sent and wants a tick soon."""
        return any(not question.opened for question in self._waiting.values())

    def unsent(self, effect: ToReplica) -> None:
        """The replica's socket was full: the work that it has goes first."""
        question = self._waiting.get(effect.robot)
        if question is not None and question.replica == effect.identity:
            question.opened = False

    def _put(self, question: RoutedSession, replica: Replica) -> None:
        question.replica = replica.identity
        self._send(question)

    def _send(self, question: RoutedSession) -> None:
        question.opened = True
        self._placement.pass_to_replica(question, question.opening)

    def _refuse(self, question: RoutedSession, answer: Reject) -> None:
        identity, about = question.peer.identity, question.opening.header
        self._placement.tell_robot(identity, about, Verdict(reject=answer))


def _about(header: Header) -> tuple[int, int, int, int]:
    """What an answer echoes."""
    return header.seq, header.episode, header.epoch, header.token

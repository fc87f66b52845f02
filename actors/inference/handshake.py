"""Handshakes: OPEN and INQUIRY to ACCEPT, REJECT or VERDICT, and the sessions that result.

Guarantees that a robot holds at most one session; that `limit` is never exceeded, by however many
brokers robots come; and that shared memory is accepted only when the robot's offer names the memory
that is mapped here under its name, on this host and for this user.

Of two brokers' claims to one robot the newer counts, by (epoch, move): an OPEN that a broker was
slow to pass on, or repeats, does not take the robot back. One broker puts its claims in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ...errors import OutboxError, WireError
from ...transport.arrays import Buffer
from ...transport.bodies import Accept, Inquiry, Open, Reject, Verdict
from ...transport.header import Header, Kind
from ...transport.host import boot_id
from ...transport.limits import DEFAULT
from ...transport.messages import Message, decode, encode
from ...transport.session_id import new_session_id
from .replica_metrics import Meters
from .robot_memory import RobotMemory
from .served_session import ServedSession
from .service_terms import Occupancy, Terms
from .session_checks import RETRY_AFTER_S, Admitted, admit

Answer = list[Buffer]


class Displaced(NamedTuple):
    """A session that its robot continues by another broker than the one numbered `broker`."""

    broker: int
    robot: str
    epoch: int


class Handshake:
    """A replica's answers to OPEN and INQUIRY, and its `sessions` by robot.

    `occupancy(n)` is how full the replica is with `n` other sessions, `host` its host's name as
    robots give theirs. `displaced`: what brokers are
    to be notified of; the caller empties it.
    """

    def __init__(
        self,
        replica: str,
        terms: Terms,
        checkpoint_hash: str,
        memories: Mapping[str, RobotMemory],
        meters: Meters,
        occupancy: Callable[[int], Occupancy],
        host: str = "",
    ) -> None:
        self.sessions: dict[str, ServedSession] = {}
        self.draining = False
        self.displaced: list[Displaced] = []
        self.direct = ""
        """Where this replica takes the requests of robots of its host straight."""
        self._replica, self._terms, self._checkpoint_hash = replica, terms, checkpoint_hash
        self.memories = memories
        self._meters, self._occupancy, self._host = meters, occupancy, host

    def open(self, robot: str, header: Header, frames: list[Buffer], broker: int = 0) -> Answer:
        """Answer an OPEN that came by `broker` by ACCEPT or REJECT. The same OPEN again is accepted
        again, for the answer may have been lost; one of another epoch replaces the robot's session,
        one of the same epoch by another broker continues it there."""
        before = self.sessions.get(robot)
        elsewhere = before if before is not None and before.broker != broker else None
        if before is not None and not elsewhere and header.epoch != before.epoch:
            del self.sessions[robot]
        try:
            asked: Open = decode(frames).body
        except WireError as error:
            return self._reject(header, _unreadable(error))
        if elsewhere and (header.epoch, asked.move) < (elsewhere.epoch, elsewhere.move):
            return self._reject(header, _outdated(self._replica, robot, header.epoch))
        verdict = self._verdict(robot, asked)
        if isinstance(verdict, Reject):
            if not elsewhere:
                self.sessions.pop(robot, None)
            return self._reject(header, verdict)
        if elsewhere:
            self.displaced.append(Displaced(elsewhere.broker, robot, elsewhere.epoch))
        session = self.sessions.get(robot)
        if session is None or session.epoch != header.epoch:
            self._meters.counts["accepted"] += 1
            session = self.sessions[robot] = ServedSession(
                robot,
                header.epoch,
                asked.session or new_session_id(),
                asked.tags,
                self._offered(robot, asked),
                header.episode,
            )
        session.broker, session.move = broker, asked.move
        terms = self._accept(asked, verdict, session)
        return encode(header._replace(kind=Kind.ACCEPT), terms)

    def inquire(self, robot: str, header: Header, frames: list[Buffer]) -> Answer:
        """Answer an INQUIRY by the VERDICT that its OPEN would get; sessions stay as they are."""
        self._meters.counts["inquiries"] += 1
        try:
            message: Message[Inquiry] = decode(frames)
        except WireError as error:
            body = Verdict(reject=_unreadable(error))
        else:
            asked = message.body.open
            verdict = self._verdict(robot, asked)
            if isinstance(verdict, Reject):
                body = Verdict(reject=verdict)
            else:
                body = Verdict(accept=self._accept(asked, verdict))
        return encode(header._replace(kind=Kind.VERDICT), body)

    def _verdict(self, robot: str, asked: Open) -> Admitted | Reject:
        if self.draining:
            return Reject(
                reason="draining",
                message=f"replica {self._replica} is draining: another replica or its successor "
                "will serve",
                retry_after_s=RETRY_AFTER_S,
            )
        others = len(self.sessions) - (robot in self.sessions)
        return admit(asked, self._terms, self._occupancy(others))

    def _accept(
        self, asked: Open, verdict: Admitted, session: ServedSession | None = None
    ) -> Accept:
        """The terms of `session`; those of an inquiry belong to none."""
        spec = self._terms.spec
        memory = session.memory if session is not None else None
        shm = memory is not None
        near = session is not None and (shm or self._is_near(asked))
        return Accept(
            session=str(session.id) if session is not None else "",
            replica=self._replica,
            model=spec.model,
            revision=spec.revision,
            checkpoint=self._checkpoint_hash,
            chunk_size=spec.chunk_size,
            fps=spec.fps,
            action_names=asked.action_names if spec.by_count else spec.action_names,
            cameras={c.name: (c.width, c.height) for c in spec.cameras},
            prefix=verdict.prefix,
            max_prefix_steps=spec.max_prefix_steps if verdict.prefix != "none" else 0,
            shm=shm,
            warnings=verdict.warnings,
            version=verdict.version,
            limits={
                "message_bytes": DEFAULT.max_message_bytes,
                "blob_bytes": DEFAULT.max_blob_bytes,
            },
            pin_task=self._terms.pin_task,
            observation_steps=spec.observation_steps,
            observation_stride_steps=spec.observation_stride_steps,
            direct=self.direct if near else "",
            rings=tuple(memory.rings) if memory is not None else (),
        )

    def _is_near(self, asked: Open) -> bool:
        """Whether the robot is on this host and of this user, so that it can reach the door. Two
        hosts of a fleet that are tried out on one machine differ by their names."""
        return asked.boot_id == boot_id() and asked.host == self._host

    def _reject(self, header: Header, refusal: Reject) -> Answer:
        self._meters.counts[f"rejected:{refusal.reason}"] += 1
        return encode(header._replace(kind=Kind.REJECT), refusal)

    def _offered(self, robot: str, asked: Open) -> RobotMemory | None:
        """The shared memory that the robot offered, if it is the one mapped here under its name."""
        memory = self.memories.get(robot)
        if memory is None or asked.boot_id != boot_id() or not asked.outbox_nonce:
            return None
        try:
            return memory if memory.outbox.nonce == asked.outbox_nonce else None
        except OutboxError:
            self._meters.counts["outbox-unreadable"] += 1
            return None  # the robot sends its pixels instead


def _outdated(replica: str, robot: str, epoch: int) -> Reject:
    return Reject(
        reason="moved",
        message=f"replica {replica} holds a newer session of {robot} than that of epoch {epoch}, "
        "by another broker",
        retry_after_s=RETRY_AFTER_S,
    )


def _unreadable(error: WireError) -> Reject:
    return Reject(reason=error.reason, message=str(error)[: DEFAULT.max_text_chars])

"""The messages of a replica's robots: handshakes at once, requests into the schedule.

Images are decoded when the device takes a request, so that a superseded one costs nothing.
"""

from __future__ import annotations

from ...errors import WireError
from ...transport.arrays import Buffer
from ...transport.bodies import Event, Request
from ...transport.header import Header, Kind
from ...transport.messages import Message, decode, encode
from ..runtime.configs import InferenceConfig
from .handshake import Answer, Handshake
from .history import Histories, History
from .replica_metrics import Ledger, Meters
from .schedule import Job, Schedule
from .served_session import BY_BROKER, AskedRequest, Cost, ServedSession, answer, has_prefix

Waiting = Job[Message[Request]]


class RequestIntake:
    """Sessions and their waiting requests. `receive` handles one message; `take` gives the next
    batch."""

    def __init__(
        self,
        replica: str,
        config: InferenceConfig,
        max_batch: int,
        handshake: Handshake,
        histories: Histories,
        meters: Meters,
        ledger: Ledger,
    ) -> None:
        self.handshake, self.sessions = handshake, handshake.sessions
        self.waiting: Schedule[Message[Request]] = Schedule(
            max_batch=max_batch,
            max_wait_ns=ns(config.max_wait_ms / 1e3),
            order=config.scheduling,
        )
        self.episode_began = True
        """A session or an episode began since the last batch: a stateful policy needs a reset."""
        self._replica, self._timeout_ns = replica, ns(config.request_timeout_s)
        self._histories, self._meters, self._ledger = histories, meters, ledger

    def receive(
        self,
        robot: str,
        header: Header,
        frames: list[Buffer],
        now_ns: int,
        broker: int = 0,
        way: bytes = BY_BROKER,
    ) -> list[Answer]:
        """Handle one message of a robot that came by `broker`, or a request that came straight by
        another `way`; return the immediate answers. Raises WireError for a message that is to be
        dropped and counted."""
        if header.kind is Kind.OPEN:
            return self._open(robot, header, frames, broker)
        if header.kind is Kind.INQUIRY:
            return [self.handshake.inquire(robot, header, frames)]
        session = self.sessions.get(robot)
        if session is not None and header.epoch < session.epoch:
            raise WireError("stale-epoch", f"epoch {header.epoch} of {robot} is over")
        elsewhere = way == BY_BROKER and session is not None and session.broker != broker
        if session is None or header.epoch > session.epoch or elsewhere:
            return self._unknown(robot, header)
        if header.kind is Kind.CLOSE:
            self._end(session)
        elif header.kind is Kind.RESET:
            self._enter_episode(session, max(header.episode, session.episode))
            return [encode(header._replace(kind=Kind.EVENT), Event(what="reset"))]
        elif header.kind is Kind.REQUEST:
            return self._request(session, header, frames, now_ns, way)
        else:
            raise WireError("kind", f"a {header.kind.name} from {robot}")
        return []

    def due_ns(self, now_ns: int) -> int | None:
        """The instant from which `take` returns a batch; None while nothing waits."""
        return self.waiting.due_ns(now_ns, len(self.sessions))

    def take(self, now_ns: int) -> list[Waiting]:
        """The next batch; empty before `due_ns`."""
        return self.waiting.take(now_ns, len(self.sessions))

    def expire(self, now_ns: int) -> list[tuple[str, Answer]]:
        """Remove the requests whose robots no longer wait; the errors to send, by robot."""
        expired = self.waiting.expire(now_ns)
        self._meters.demand.misses += len(expired)
        return [
            (job.session, self.fail(job.session, job.payload.header, _expired(job, now_ns)))
            for job in expired
        ]

    def fail(self, robot: str, header: Header, error: Exception) -> Answer:
        """Record a request that the device did not take; its ERROR."""
        session = self.sessions.get(robot)
        held = session is not None and session.epoch == header.epoch
        self._ledger.refused(session.id if session and held else 0, header, error)
        return answer(header, error, Cost())

    def end_sessions_by(self, broker: int) -> None:
        """End every session that came by `broker`: that is gone, or has moved them."""
        for session in list(self.sessions.values()):
            if session.broker == broker:
                self._end(session)

    def displaced(self) -> list[tuple[int, str, Answer]]:
        """What is to be sent to brokers whose robots have gone on by another one: broker, robot,
        message. Empties the list."""
        handshake = self.handshake
        gone, handshake.displaced = handshake.displaced, []
        words = "the robot has gone on by another broker"
        return [
            (
                each.broker,
                each.robot,
                encode(Header(Kind.EVENT, epoch=each.epoch), Event(what="lost", message=words)),
            )
            for each in gone
        ]

    def _open(self, robot: str, header: Header, frames: list[Buffer], broker: int) -> list[Answer]:
        before = self.sessions.get(robot)
        verdict = self.handshake.open(robot, header, frames, broker)
        if self.sessions.get(robot) is not before:
            self.waiting.remove(robot)
            self.episode_began = True
        return [verdict]

    def _unknown(self, robot: str, header: Header) -> list[Answer]:
        if header.kind is not Kind.REQUEST:
            raise WireError("no-session", f"a {header.kind.name} of {robot}, which has no session")
        self._meters.counts["lost-sessions"] += 1
        message = (
            f"replica {self._replica} holds no session of {robot} in epoch {header.epoch} by this "
            "broker"
        )
        return [encode(header._replace(kind=Kind.EVENT), Event(what="lost", message=message))]

    def _request(
        self, session: ServedSession, header: Header, frames: list[Buffer], now_ns: int, way: bytes
    ) -> list[Answer]:
        asked = session.asked
        if asked is not None and asked.seq == header.seq and way not in asked.ways:
            asked.ways.append(way)
            return [] if asked.answer is None else [asked.answer]
        self._meters.demand.arrived(now_ns)
        history = self._histories.of(session.robot)
        rest_s = self._histories.rest_s(session.robot, now_ns)
        if rest_s > 0:
            text = f"the next request is taken in {rest_s:.1f} s, because {_cause(history)}"
            return [self.fail(session.robot, header, WireError("resting", text))]
        try:
            message: Message[Request] = decode(frames, header=header)
        except WireError as error:
            return [self.fail(session.robot, header, error)]
        # A RESET may have been lost or wrong: the robot is in the episode of its request.
        self._enter_episode(session, header.episode)
        expires_ns = now_ns + self._timeout_ns
        job = Job(
            session=session.robot,
            seq=header.seq,
            # Equal shapes share a batch. A robot in trouble has a shape of its own, and comes last.
            shape=(has_prefix(message.body), session.robot if history.alone else ""),
            arrived_ns=now_ns,
            deadline_ns=expires_ns if history.alone else now_ns + ns(message.body.slack_s),
            expires_ns=expires_ns,
            payload=message,
        )
        replaced = self.waiting.put(job)
        if replaced is not job:
            session.asked = AskedRequest(header.seq, [way])
        if replaced is not None:
            session.superseded += 1
            self._meters.counts["superseded"] += 1
            self._meters.demand.superseded += 1
        return []

    def _enter_episode(self, session: ServedSession, episode: int) -> None:
        if episode == session.episode:
            return
        session.episode, session.asked = episode, None
        self.waiting.remove(session.robot)
        self.episode_began = True

    def _end(self, session: ServedSession) -> None:
        del self.sessions[session.robot]
        self.waiting.remove(session.robot)


def ns(seconds: float) -> int:
    """Seconds as integer nanoseconds."""
    return round(seconds * 1e9)


def _expired(job: Waiting, now_ns: int) -> WireError:
    waited_s = (now_ns - job.arrived_ns) / 1e9
    return WireError(
        "expired", f"it waited for {waited_s:.1f} s: this replica has more robots than it carries"
    )


def _cause(history: History) -> str:
    """Why a robot rests."""
    if history.losses:
        times = f"{history.losses} time{'s' if history.losses > 1 else ''}"
        return f"the policy was restarted after its requests {times}: {history.reason}"
    if history.failing:
        return f"the last {history.failing} failed: {history.reason}"
    return f"the last {history.slow} took much longer than other robots'"

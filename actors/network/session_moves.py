"""`SessionMoves`: a robot's session at the present broker, and how it goes on by another one.

The robot's OPEN is sent again there, in the same epoch. If the terms are the same, the session goes
on, control notices nothing, and the request that awaits its answer is repeated. If no other broker
takes the session, or its terms are others, it is lost, and control opens the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from logging import Logger

from msgspec.structs import replace

from ...transport import messages
from ...transport.arrays import Buffer
from ...transport.bodies import Accept, Error, Open, Reject
from ...transport.header import Header, Kind
from .broker_paths import BrokerPaths
from .direct_path import DirectPath
from .session_relay import Phase, SessionRelay


@dataclass(frozen=True, slots=True)
class Consumed:
    """A message that is not passed on to control. `lost`: why the session is, if it is; `failed`:
    the request that has to be made anew, if there is one, and its answer."""

    lost: str = ""
    failed: tuple[Header, Error] | None = None


class SessionMoves:
    """The session of one robot. `terms` are those of the last ACCEPT, None without a session;
    `moves` counts the changes of the broker that succeeded."""

    def __init__(
        self, paths: BrokerPaths, direct: DirectPath, relay: SessionRelay, log: Logger
    ) -> None:
        self.terms: Accept | None = None
        self.moves = 0
        self._paths, self._direct, self._relay, self._log = paths, direct, relay, log
        self._opening: tuple[Header, Open] | None = None
        self._asked: tuple[Header, list[Buffer], bool] | None = None
        """The request that awaits its answer, and whether its images are in shared memory."""

    def open(self, header: Header, body: Open, now_ns: int) -> bool:
        """Send control's OPEN to the first broker that takes it; False if none does."""
        self.terms = self._asked = None
        self._direct.end()
        self._opening = header, body
        return self._open_at(self._paths.route.begin(now_ns), now_ns)

    def ask(self, header: Header, frames: list[Buffer], now_ns: int) -> bool:
        """Send a request, straight to the replica or by the broker, or keep it until the session is
        open at another broker. False if it cannot be sent."""
        if self._direct.send(header, frames, now_ns):
            self._paths.bytes_out += sum(len(frame) for frame in frames)
            return True
        return self._ask_broker(header, frames, now_ns)

    def _ask_broker(self, header: Header, frames: list[Buffer], now_ns: int) -> bool:
        route = self._paths.route
        route.asked(now_ns)
        shm = self.terms is not None and self.terms.shm
        self._asked = (header, frames, shm) if self._paths.several else None
        sent = self._moving or self._paths.send(frames)
        if not sent:
            to = route.due(now_ns)
            sent = to is not None and self._open_at(to, now_ns)
        if sent:
            self._paths.asked(header.seq, now_ns)
            self._direct.route.by_broker(header.seq, now_ns)
            return True
        self._asked = None
        route.unasked()
        return False

    def answered_by_broker(self, header: Header) -> None:
        """The broker answered a request."""
        self._direct.route.answered_by_broker(header.seq)

    def has_two_answers(self, header: Header) -> bool:
        """Whether the request was asked both ways."""
        return self._direct.route.has_two_answers(header.seq)

    def answered_by_replica(self, header: Header) -> None:
        """The replica answered a request that went straight there."""
        self._direct.answered(header.seq)

    def lost_at_replica(self, now_ns: int) -> None:
        """The replica does not hold the session any more: the broker knows where it is."""
        self._direct.route.lost()
        self.follow(now_ns)

    def forget(self) -> None:
        """The answer to the last request does not count any more."""
        self._direct.route.forget()

    def is_owed_by_broker(self, header: Header) -> bool:
        """Whether the broker was asked that request of this session, and has not answered it."""
        return header.epoch == self._relay.epoch and self._direct.route.owed == header.seq

    def answered(self, now_ns: int) -> None:
        """The request was answered."""
        self._asked = None
        self._direct.route.settled(now_ns)
        self._paths.route.answered(now_ns)

    def follow(self, now_ns: int) -> None:
        """Move the session where that is due."""
        if self._relay.phase is Phase.CLOSED:
            return
        late = self._direct.route.late(now_ns)
        if late is not None:
            self._ask_broker(late.header, late.frames, now_ns)
        if self._paths.several:
            before = self._paths.present
            to = self._paths.route.due(now_ns)
            if to is not None:
                self._log.info("leaves the broker at %s: it does not answer", before)
                self._open_at(to, now_ns)

    def consume(
        self, header: Header, frames: list[Buffer], event: str, now_ns: int
    ) -> Consumed | None:
        """Handle a message of the present broker that concerns the session, of which an EVENT says
        `event`; None for one that is for control."""
        if header.epoch != self._relay.epoch or self._relay.phase is Phase.CLOSED:
            return None
        if header.kind is Kind.ACCEPT:
            return self._accepted(messages.decode(frames).body, now_ns)
        if header.kind is Kind.REJECT:
            return self._rejected(messages.decode(frames).body, now_ns)
        if event == "replayed":
            self._direct.route.lost()
            self._paths.route.replayed(now_ns)
        if event != "lost":
            return None
        return Consumed() if self._goes_on(now_ns) else None

    def _accepted(self, terms: Accept, now_ns: int) -> Consumed | None:
        before, self.terms = self.terms, terms
        moving = self._moving
        self._paths.route.accepted(now_ns)
        self._direct.connect(terms.direct)
        if not moving:
            # In an open session: the broker has moved it to another replica, with the same terms.
            return Consumed() if self._relay.phase is Phase.OPEN else None
        if before is None or _contract(terms) != _contract(before):
            self._relay.phase = Phase.CLOSED
            return Consumed(lost=f"the broker at {self._paths.present} has another contract")
        self.moves += 1
        self._log.info("goes on by the broker at %s, at %s", self._paths.present, terms.replica)
        if self._asked is None:
            return Consumed()
        header, frames, shm = self._asked
        if (terms.shm or not shm) and self._paths.send(frames):
            return Consumed()
        self._asked = None
        self._paths.route.unasked()
        words = "the replica at the robot's new broker cannot see the images of this request"
        return Consumed(failed=(header, Error(reason="connection-lost", message=words)))

    def _rejected(self, answer: Reject, now_ns: int) -> Consumed | None:
        moving = self._moving
        if not answer.final and self._goes_on(now_ns):
            return Consumed()
        if not moving:
            return None
        self._relay.phase = Phase.CLOSED
        return Consumed(lost=f"no broker continues the session: {answer.message}")

    def _goes_on(self, now_ns: int) -> bool:
        """Whether another broker is asked, because the present one has no session any more."""
        self._paths.ended()
        return self._open_at(self._paths.route.refused(now_ns), now_ns)

    @property
    def id(self) -> int:
        """The id of the session that was last asked for; 0 before the first."""
        return self._opening[1].session if self._opening is not None else 0

    def status(self) -> dict[str, object]:
        """The session as plain values."""
        terms = self.terms
        return {
            "session": self._relay.phase,
            "session_id": self.id,
            "epoch": self._relay.epoch,
            "moves": self.moves,
            "replica": terms.replica if terms else None,
            "shm": bool(terms and terms.shm),
            "direct": self._direct.route.chosen,
            "warnings": list(terms.warnings) if terms else [],
        }

    @property
    def _moving(self) -> bool:
        return self._relay.phase is Phase.OPEN and self._paths.route.opening

    def _open_at(self, broker: int | None, now_ns: int) -> bool:
        """Send the OPEN to `broker`, or to the next that takes it."""
        assert self._opening is not None, "control has opened a session"
        header, body = self._opening
        holder = self.terms.replica if self.terms is not None else ""
        while broker is not None:
            move = self._paths.route.move
            frames = messages.encode(header, replace(body, move=move, holder=holder))
            if self._paths.open(frames, header.epoch):
                self._direct.opened(now_ns)
                return True
            broker = self._paths.route.refused(now_ns)
        return False


def _contract(terms: Accept) -> Accept:
    """What must not change while a session goes on."""
    return replace(
        terms,
        session="",
        replica="",
        warnings=(),
        shm=False,
        rings=(),
        limits={},
        version=0,
        direct="",
    )

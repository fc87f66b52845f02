"""`EffectQueue`: what the routing core wants sent and logged, until the shell takes it."""

from __future__ import annotations

from typing import Any

from ...transport.bodies import KINDS, Body
from ...transport.header import Header
from .effects import Answered, Effect, Received, ToReplica, ToRobot
from .rate_limited_log import RateLimitedLog
from .sessions import RoutedSession


class EffectQueue:
    """Collects the effects of one call of the core. `send_...` builds a message of the broker's
    own, `forward_...` passes one on as it was received."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []
        self._answers: list[Answered] = []
        self.audited = False
        """Whether answers are kept, for a shell that calls `take_answers`."""
        self._log = RateLimitedLog()

    def take(self) -> list[Effect]:
        """The effects since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def take_answers(self) -> list[Answered]:
        """The requests that were answered since the last call."""
        answers, self._answers = self._answers, []
        return answers

    def answered(
        self, session: RoutedSession, message: Received, replica: str, now_ns: int
    ) -> None:
        """The request of `session` was answered by `message` of the `replica`."""
        request = session.request
        if not self.audited or request is None:
            return
        self._answers.append(
            Answered(
                robot=session.robot,
                session=session.terms.session if session.terms else "",
                header=message.header,
                outcome=message.header.kind.name.lower(),
                replica=replica,
                at_ns=now_ns,
                held_ns=now_ns - request.arrived_ns,
                failed=request.failed,
            )
        )

    def send_to_robot(self, identity: bytes, about: Header, body: Body) -> None:
        """Send `body` to a robot; the header echoes `about`, except for its kind."""
        header = about._replace(kind=KINDS[type(body)])
        self._effects.append(ToRobot(identity, header, body))

    def forward_to_robot(self, session: RoutedSession, message: Received) -> None:
        """Pass a replica's message on to the session's robot."""
        self._effects.append(ToRobot(session.peer.identity, message.header, message.frames))

    def repeat_to_robot(self, effect: ToRobot) -> None:
        """Send again what was not delivered."""
        self._effects.append(effect)

    def send_to_replica(self, identity: bytes, about: Header, body: Body, robot: str = "") -> None:
        """Send `body` to a replica, about `robot` or (empty) the replica itself."""
        header = about._replace(kind=KINDS[type(body)])
        self._effects.append(ToReplica(identity, robot, header, body))

    def forward_to_replica(self, session: RoutedSession, message: Received) -> None:
        """Pass a robot's message on to its session's replica."""
        header, frames = message.header, message.frames
        self._effects.append(ToReplica(session.replica, session.robot, header, frames))

    def log(self, now_ns: int, level: int, event: str, **fields: Any) -> None:
        """Log `event`, at most once a second."""
        self._effects += self._log.note(now_ns, level, event, **fields)

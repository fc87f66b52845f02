"""A fleet under the supervision state machine, and the changes of one of its actors."""

from __future__ import annotations

from holdfast.actors.runtime.spec import Member, Rules
from holdfast.actors.supervision.state_machine import step
from holdfast.actors.supervision.supervised import (
    ActorReady,
    Changed,
    Start,
    SupervisionEvent,
    fleet_of,
)

RULES = Rules(
    start_timeout_s=3,
    hang_timeout_s=2,
    stop_timeout_s=1,
    drain_timeout_s=4,
    max_restarts=2,
    window_s=20,
    backoff_s=0.5,
    settle_s=5,
)


class Transcript:
    """A fleet, and the changes of one actor: (old state, new state, reason)."""

    def __init__(self, *members: Member) -> None:
        self.fleet = fleet_of(members or (Member("a", RULES),), 0.0)
        self.now_s = 0.0

    def of(
        self, name: str, *events: SupervisionEvent, after_s: float = 0.0
    ) -> list[tuple[str, str, str]]:
        found = []
        for event in events:
            self.now_s += after_s
            self.fleet, effects = step(self.fleet, event, self.now_s, jitter=1.0)
            found += [
                (str(e.old), str(e.new), e.reason)
                for e in effects
                if isinstance(e, Changed) and e.name == name
            ]
        return found

    def reason(self, name: str = "a") -> str:
        return self.fleet.actors[name].reason


def up(*members: Member) -> Transcript:
    log = Transcript(*members)
    log.of("a", Start(), ActorReady("a", 1))
    return log


REMEDY = "mend the cause, then `actorctl start a`"

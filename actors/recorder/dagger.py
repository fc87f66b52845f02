"""`CorrectionStrategy`: the policy runs, and what a person's hands correct is recorded.

Each stretch in which the person commands the robot is an episode, so that a training gets the
corrections alone. Where whole attempts are wanted, `EpisodicStrategy` records them, with the
column `intervention`.
"""

from __future__ import annotations

from .strategy import (
    Begin,
    ControlVerb,
    CountingStrategy,
    Discard,
    Finish,
    RecordingEffect,
    RobotStep,
)


class CorrectionStrategy(CountingStrategy):
    """Until `corrections` are kept; then the robot is paused."""

    def __init__(self, corrections: int) -> None:
        super().__init__()
        self._wanted = corrections
        self._let_go = True
        """Whether the person has given back since the last episode ended: what a discard left out
        is not recorded from its middle on."""

    @property
    def progress(self) -> str:
        """For a person."""
        if self.done:
            return f"has recorded all {self._wanted} corrections"
        doing = "waits for a correction" if self._episode is None else "records a correction"
        return f"{doing} ({self.kept} of {self._wanted} kept)"

    @property
    def done(self) -> bool:
        return self.kept >= self._wanted

    def step(self, seen: RobotStep) -> list[RecordingEffect]:
        self._let_go |= not seen.manual
        if self._episode is None:
            if not seen.manual or not self._let_go or self.done:
                return []
            self._episode = seen.episode
            return [Begin()]
        if not seen.manual:
            return self._end(Finish())
        if seen.episode != self._episode:
            ended = self._end(Finish(seen.outcome))
            if self.done:
                return ended
            self._episode = seen.episode
            return [*ended, Begin()]
        return []

    def _end(self, effect: Finish | Discard) -> list[RecordingEffect]:
        self._let_go = False
        ended = super()._end(effect)
        return [*ended, ControlVerb("pause")] if self.done else ended

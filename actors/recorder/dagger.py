"""`CorrectionStrategy`: the policy runs, and what a person's hands correct is recorded.

Each stretch in which the person commands the robot is an episode, so that a training gets the
corrections alone. Where whole attempts are wanted, `EpisodicStrategy` records them, with the
column `intervention`.
"""

from __future__ import annotations

from .strategy import (
    Begin,
    ControlVerb,
    Discard,
    EpisodeDiscard,
    EpisodeRerecord,
    EpisodeStop,
    Finish,
    InterventionSwitch,
    MarkIntervention,
    RecordingEffect,
    RobotStep,
    StrategyEvent,
)


class CorrectionStrategy:
    """Until `corrections` are kept; then the robot is paused."""

    def __init__(self, corrections: int) -> None:
        self._wanted = corrections
        self._episode: int | None = None
        """The robot's, of the correction under way; None while the policy runs."""
        self._let_go = True
        """Whether the person has given back since the last episode ended: what a discard left out
        is not recorded from its middle on."""
        self.kept = 0

    @property
    def progress(self) -> str:
        """For a person."""
        if self.kept >= self._wanted:
            return f"has recorded all {self._wanted} corrections"
        doing = "waits for a correction" if self._episode is None else "records a correction"
        return f"{doing} ({self.kept} of {self._wanted} kept)"

    def step(self, seen: RobotStep) -> list[RecordingEffect]:
        self._let_go |= not seen.manual
        if self._episode is None:
            if not seen.manual or not self._let_go or self.kept >= self._wanted:
                return []
            self._episode = seen.episode
            return [Begin()]
        if not seen.manual:
            return self._end(Finish())
        if seen.episode != self._episode:
            ended = self._end(Finish(seen.outcome))
            if self.kept >= self._wanted:
                return ended
            self._episode = seen.episode
            return [*ended, Begin()]
        return []

    def on(self, event: StrategyEvent, now_ns: int) -> list[RecordingEffect]:
        del now_ns
        match event:
            case InterventionSwitch(on):
                return [MarkIntervention(on)]
            case EpisodeStop(success) if self._episode is not None:
                return self._end(Finish(success))
            case EpisodeDiscard() | EpisodeRerecord() if self._episode is not None:
                return self._end(Discard())
        return []

    def lost(self, now_ns: int) -> None:
        del now_ns
        self.kept -= 1

    def _end(self, effect: Finish | Discard) -> list[RecordingEffect]:
        self._episode, self._let_go = None, False
        self.kept += isinstance(effect, Finish)
        if self.kept >= self._wanted:
            return [effect, ControlVerb("pause")]
        return [effect]

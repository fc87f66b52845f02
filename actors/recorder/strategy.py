"""When to record: a `Strategy` gets what happens to a robot and answers with what to do.

Strategies are pure: no clock, no file, no thread. The recorder calls `step` for each policy step,
in order, before it records it, and `on` for what a person or the surroundings say; it carries out
the effects in their order. An effect that does not apply (to finish when nothing is recorded) is
ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EpisodeStart:
    """A person wants an episode recorded. `episode` is the robot's number of it."""

    episode: int


@dataclass(frozen=True, slots=True)
class EpisodeStop:
    """The episode is over. `success` is None where it was not judged."""

    success: bool | None = None


@dataclass(frozen=True, slots=True)
class EpisodeDiscard:
    """The episode in progress shall not be kept."""


@dataclass(frozen=True, slots=True)
class InterventionSwitch:
    """A person takes over the robot, or gives it back."""

    on: bool


StrategyEvent = EpisodeStart | EpisodeStop | EpisodeDiscard | InterventionSwitch


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin to record an episode."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Keep the episode in progress."""

    success: bool | None = None


@dataclass(frozen=True, slots=True)
class Discard:
    """Do not keep the episode in progress."""


@dataclass(frozen=True, slots=True)
class MarkIntervention:
    """From here on, rows are a person's (`intervention`), or not."""

    intervention: bool


RecordingEffect = Begin | Finish | Discard | MarkIntervention


class Strategy(Protocol):
    """One robot's."""

    def step(self, episode: int, now_ns: int) -> list[RecordingEffect]:
        """A policy step of the robot's episode number `episode` is about to be recorded."""

    def on(self, event: StrategyEvent, now_ns: int) -> list[RecordingEffect]:
        """Something was said."""


class BaseStrategy:
    """An episode is recorded from `actorctl episode start`, or a reset, to `episode stop` or the
    next reset. Nothing is recorded before the first."""

    def __init__(self) -> None:
        self._recording = False
        self._episode: int | None = None

    def step(self, episode: int, now_ns: int) -> list[RecordingEffect]:
        if self._episode is None:
            # What goes on when the recorder starts began before it.
            self._episode = episode
        return self._enter(episode) if episode != self._episode else []

    def on(self, event: StrategyEvent, now_ns: int) -> list[RecordingEffect]:
        match event:
            case EpisodeStart(episode):
                # The reset that came with it may have been seen already.
                if self._recording and episode == self._episode:
                    return []
                return self._enter(episode)
            case EpisodeStop(success):
                return self._leave(Finish(success))
            case EpisodeDiscard():
                return self._leave(Discard())
            case InterventionSwitch(on):
                return [MarkIntervention(on)]

    def _enter(self, episode: int) -> list[RecordingEffect]:
        ended = self._leave(Finish())
        self._recording, self._episode = True, episode
        return [*ended, Begin()]

    def _leave(self, effect: RecordingEffect) -> list[RecordingEffect]:
        was, self._recording = self._recording, False
        return [effect] if was else []

"""When to record: a `Strategy` gets what happens to a robot and answers with what to do.

Strategies are pure: no clock, no file, no thread. The recorder calls `step` for each policy step,
in order, before it records it, and `on` for what a person or the surroundings say; it carries out
the effects in their order. An effect that does not apply (to finish when nothing is recorded) is
ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


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


@dataclass(frozen=True, slots=True)
class EpisodeRerecord:
    """The episode in progress shall not be kept, and be done once more."""


@dataclass(frozen=True, slots=True)
class EpisodeSave:
    """What happens now, and did just before, shall be kept."""


StrategyEvent = (
    EpisodeStart | EpisodeStop | EpisodeDiscard | EpisodeRerecord | EpisodeSave | InterventionSwitch
)


@dataclass(frozen=True, slots=True)
class RobotStep:
    """A policy step that was executed. `outcome` is whether the robot's episode before this one
    succeeded, where its surroundings say so, at the step that begins another; `size_bytes` is what
    the files of the episode in progress have. `own_pace`: the robot's surroundings have attempts,
    which they begin by themselves alone."""

    episode: int
    now_ns: int
    manual: bool = False
    outcome: bool | None = None
    size_bytes: int = 0
    own_pace: bool = False


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin to record an episode, with the steps before it that are `held` in memory."""

    held: bool = False


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


@dataclass(frozen=True, slots=True)
class ControlVerb:
    """Command the robot's control loop: one of its verbs, such as pause."""

    verb: str
    args: dict[str, Any] = field(default_factory=dict)


RecordingEffect = Begin | Finish | Discard | MarkIntervention | ControlVerb


Awaits = Literal["", "start", "time", "nothing"]
"""A person's start; the time of a reset; nothing, because all episodes are kept; or, empty, what
does not rest the robot."""


class Strategy(Protocol):
    """One robot's. `kept` counts the episodes that it had kept."""

    kept: int

    @property
    def awaits(self) -> Awaits:
        """What its next episode waits for while the robot rests."""

    @property
    def progress(self) -> str:
        """What it does and how far it is, for a person; empty where that says nothing."""

    @property
    def done(self) -> bool:
        """Whether it has kept all the episodes that it was to record."""

    def step(self, seen: RobotStep) -> list[RecordingEffect]:
        """A policy step is about to be recorded."""

    def on(self, event: StrategyEvent, now_ns: int) -> list[RecordingEffect]:
        """Something was said."""

    def lost(self, now_ns: int) -> None:
        """An episode that it had kept could not be saved."""


class CountingStrategy:
    """What strategies share that keep episodes of the robot's own making: `_episode` is the
    robot's that is recorded, None while none is."""

    awaits: Awaits = ""

    def __init__(self) -> None:
        self.kept = 0
        self._episode: int | None = None

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

    @property
    def done(self) -> bool:
        return False

    def lost(self, now_ns: int) -> None:
        del now_ns
        self.kept -= 1

    def _end(self, effect: Finish | Discard) -> list[RecordingEffect]:
        self._episode = None
        self.kept += isinstance(effect, Finish)
        return [effect]


class BaseStrategy:
    """An episode is recorded from `actorctl episode start`, or a reset, to `episode stop` or the
    next reset. Nothing is recorded before the first."""

    def __init__(self) -> None:
        self.kept = 0
        self._recording = False
        self._episode: int | None = None

    progress = ""
    done = False
    awaits: Awaits = ""

    def step(self, seen: RobotStep) -> list[RecordingEffect]:
        if self._episode is None:
            # What goes on when the recorder starts began before it.
            self._episode = seen.episode
        return self._enter(seen.episode, seen.outcome) if seen.episode != self._episode else []

    def on(self, event: StrategyEvent, now_ns: int) -> list[RecordingEffect]:
        match event:
            case EpisodeStart(episode):
                # The reset that came with it may have been seen already.
                if self._recording and episode == self._episode:
                    return []
                return self._enter(episode)
            case EpisodeStop(success):
                return self._leave(Finish(success))
            case EpisodeDiscard() | EpisodeRerecord():
                return self._leave(Discard())
            case InterventionSwitch(on):
                return [MarkIntervention(on)]
        return []

    def lost(self, now_ns: int) -> None:
        del now_ns
        self.kept -= 1

    def _enter(self, episode: int, outcome: bool | None = None) -> list[RecordingEffect]:
        ended = self._leave(Finish(outcome))
        self._recording, self._episode = True, episode
        return [*ended, Begin()]

    def _leave(self, effect: RecordingEffect) -> list[RecordingEffect]:
        was, self._recording = self._recording, False
        self.kept += was and isinstance(effect, Finish)
        return [effect] if was else []

"""`EpisodicStrategy`: a number of attempts, one after the other, with a reset between.

    WAITING ──start, or reset_time_s──▶ STARTING ──the robot's next episode──▶ RECORDING
       ▲                                                                          │
       └────────────── stop, re-record, the time limit, the robot's own end ──────┘
                                  after the last: DONE

An attempt begins with a reset, which has the robot's surroundings begin one too where they can.
Where they have attempts and begin them by themselves alone (`own_pace`), the robot is commanded to
the end of the one under way, unrecorded, and the next is recorded from its beginning on.

Before the first attempt the robot is paused. Between two it rests: paused, at the pose it began in,
or in the person's hands. What it does then is not recorded. Pure, like every strategy.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from .strategy import (
    Awaits,
    Begin,
    ControlVerb,
    Discard,
    EpisodeDiscard,
    EpisodeRerecord,
    EpisodeStart,
    EpisodeStop,
    Finish,
    InterventionSwitch,
    MarkIntervention,
    RecordingEffect,
    RobotStep,
    StrategyEvent,
)

RETRY_NS = 3_000_000_000
"""A robot that has not begun an episode by then is commanded so again: it was refused, or away."""


class Attempt(Enum):
    """Where in an attempt the strategy is."""

    WAITING = "waits for the next episode"
    STARTING = "begins an episode"
    """Of the robot; its surroundings' next one if that is what has to be waited for."""
    RECORDING = "records an episode"
    DONE = "has recorded all episodes"


class EpisodicStrategy:
    """`by` commands the robot during an attempt. `home` is the pose to rest in, by joints' names;
    None rests where the robot is. `reset_ns` None waits for a person between two attempts."""

    def __init__(
        self,
        episodes: int,
        by: Literal["policy", "person"],
        episode_ns: int | None = None,
        reset_ns: int | None = None,
        home: dict[str, float] | None = None,
    ) -> None:
        self._wanted, self._by = episodes, by
        self._episode_ns, self._reset_ns, self._home = episode_ns, reset_ns, home
        self._since_ns: int | None = None
        """Since when it is in the present attempt's state; None before the first step."""
        self._episode = 0
        """The robot's, when the present state began; `_latest` is the latest known one."""
        self._latest = 0
        self._own_pace = False
        self.attempt = Attempt.WAITING
        self.kept = 0

    @property
    def progress(self) -> str:
        """For a person: what it does, and how far it is."""
        doing = self.attempt.value
        if self.attempt is Attempt.STARTING and self._own_pace:
            doing = "waits for its surroundings to begin an episode"
        return f"{doing} ({self.kept} of {self._wanted} kept)"

    @property
    def awaits(self) -> Awaits:
        if self.attempt is Attempt.WAITING:
            return "start" if self._reset_ns is None else "time"
        return "nothing" if self.done else ""

    @property
    def done(self) -> bool:
        return self.attempt is Attempt.DONE

    def step(self, seen: RobotStep) -> list[RecordingEffect]:
        self._own_pace, self._latest = seen.own_pace, seen.episode
        if self._since_ns is None:
            self._since_ns, self._episode = seen.now_ns, seen.episode
            if not self._wants_more:  # the process before this one has kept all
                self.attempt = Attempt.DONE
            return [ControlVerb("pause")]  # nothing moves before the first attempt
        passed_ns = seen.now_ns - self._since_ns
        match self.attempt:
            case Attempt.WAITING if self._reset_ns is not None and passed_ns >= self._reset_ns:
                return self._start(seen.now_ns, seen.episode)
            case Attempt.STARTING if seen.episode > self._episode:
                self.attempt, self._since_ns = Attempt.RECORDING, seen.now_ns
                self._episode = seen.episode
                return [Begin()]
            case Attempt.STARTING if passed_ns >= RETRY_NS:
                return self._start(seen.now_ns, seen.episode)
            case Attempt.RECORDING if seen.episode != self._episode:
                return self._keep(seen.outcome, seen.now_ns, seen.episode)
            case Attempt.RECORDING if self._episode_ns is not None:
                if passed_ns >= self._episode_ns:
                    return self._keep(None, seen.now_ns, seen.episode)
        return []

    def on(self, event: StrategyEvent, now_ns: int) -> list[RecordingEffect]:
        recording = self.attempt is Attempt.RECORDING
        match event:
            case InterventionSwitch(on):
                return [MarkIntervention(on)]
            case EpisodeStart(episode):
                return self._begin(episode, now_ns)
            case EpisodeStop() if self.attempt is Attempt.WAITING and self._since_ns is not None:
                return self._start(now_ns, self._latest)  # the button that also ends one
            case EpisodeStop(success) if recording:
                return self._keep(success, now_ns, self._episode)
            case EpisodeDiscard() | EpisodeRerecord() if recording:
                return [Discard(), *self._wait(now_ns, self._episode)]
            case EpisodeDiscard() | EpisodeRerecord() if self.attempt is Attempt.STARTING:
                return self._wait(now_ns, self._episode)
        return []

    def lost(self, now_ns: int) -> None:
        self.kept -= 1
        if self.attempt is Attempt.DONE:
            self.attempt, self._since_ns = Attempt.WAITING, now_ns

    def _start(self, now_ns: int, episode: int) -> list[RecordingEffect]:
        self.attempt, self._since_ns, self._episode = Attempt.STARTING, now_ns, episode
        if self._own_pace:
            return [self._hands]
        # One that has begun meanwhile is at its beginning, and no reason for another.
        return [ControlVerb("reset", {"after": episode}), self._hands]

    @property
    def _hands(self) -> ControlVerb:
        return ControlVerb("take-over" if self._by == "person" else "resume")

    @property
    def _wants_more(self) -> bool:
        return self.kept < self._wanted

    def _begin(self, episode: int, now_ns: int) -> list[RecordingEffect]:
        """A person wants an attempt: one that is being recorded is kept first."""
        if self.attempt in (Attempt.WAITING, Attempt.STARTING):
            return self._adopt(episode, now_ns)
        if self.attempt is Attempt.DONE or episode == self._episode:
            return []  # all are kept, or its own reset was seen before it was said
        kept = self._keep(None, now_ns, self._episode)
        return [kept[0], *self._adopt(episode, now_ns)] if self._wants_more else kept

    def _adopt(self, episode: int, now_ns: int) -> list[RecordingEffect]:
        """Begin the attempt whose reset a person has made: the robot's `episode`, or the one after
        it where a reset begins none of the surroundings'."""
        before = episode if self._own_pace else episode - 1
        self.attempt, self._since_ns, self._episode = Attempt.STARTING, now_ns, before
        self._latest = episode
        return [self._hands]

    def _keep(self, success: bool | None, now_ns: int, episode: int) -> list[RecordingEffect]:
        self.kept += 1
        return [Finish(success), *self._wait(now_ns, episode)]

    def _wait(self, now_ns: int, episode: int) -> list[RecordingEffect]:
        self.attempt = Attempt.WAITING if self._wants_more else Attempt.DONE
        self._since_ns, self._episode = now_ns, episode
        if self._by == "person" and self.attempt is Attempt.WAITING:
            return [ControlVerb("take-over")]  # the person puts the scene in order
        if self._home is not None:
            return [ControlVerb("go-to", {"pose": self._home})]
        return [ControlVerb("pause")]

"""`HighlightStrategy`: what a person marks is kept, with some time before and after it."""

from __future__ import annotations

from .strategy import (
    Awaits,
    Begin,
    Discard,
    EpisodeDiscard,
    EpisodeRerecord,
    EpisodeSave,
    EpisodeStop,
    Finish,
    InterventionSwitch,
    MarkIntervention,
    RecordingEffect,
    RobotStep,
    StrategyEvent,
)


class HighlightStrategy:
    """A mark within the time after another one makes that time longer. An episode of the robot's
    that ends meanwhile does not end the highlight."""

    def __init__(self, after_ns: int) -> None:
        self._after_ns = after_ns
        self._until_ns: int | None = None
        """When the present highlight ends; None while there is none."""
        self._success: bool | None = None
        self.kept = 0

    awaits: Awaits = ""

    @property
    def progress(self) -> str:
        """For a person."""
        doing = "waits for a mark" if self._until_ns is None else "records after a mark"
        return f"{doing} ({self.kept} kept)"

    @property
    def done(self) -> bool:
        return False

    def step(self, seen: RobotStep) -> list[RecordingEffect]:
        if self._until_ns is None or seen.now_ns < self._until_ns:
            return []
        self._until_ns = None
        self.kept += 1
        return [Finish(self._success)]

    def on(self, event: StrategyEvent, now_ns: int) -> list[RecordingEffect]:
        match event:
            case InterventionSwitch(on):
                return [MarkIntervention(on)]
            case EpisodeSave():
                return self._mark(None, now_ns)
            case EpisodeStop(success) if self._until_ns is None:
                return self._mark(success, now_ns)
            case EpisodeStop(success):
                self._until_ns = None
                self.kept += 1
                return [Finish(self._success if success is None else success)]
            case EpisodeDiscard() | EpisodeRerecord() if self._until_ns is not None:
                self._until_ns = None
                return [Discard()]
        return []

    def lost(self, now_ns: int) -> None:
        del now_ns
        self.kept -= 1

    def _mark(self, success: bool | None, now_ns: int) -> list[RecordingEffect]:
        began, self._until_ns = self._until_ns is None, now_ns + self._after_ns
        self._success = success
        return [Begin(held=True)] if began else []

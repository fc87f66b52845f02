"""`RecorderCommands`: what a person commands a recorder: begin, keep, drop or mark an episode."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from ..runtime.link_messages import Command
from .dataset_recorder import DatasetRecorder
from .strategy import (
    EpisodeDiscard,
    EpisodeRerecord,
    EpisodeSave,
    EpisodeStart,
    EpisodeStop,
    StrategyEvent,
)

_FIRST_STEP_NS = 3_000_000_000
"""How long a start waits for the robot's first step; the supervisor waits longer for the answer."""

VERBS = ("episode_start", "episode_stop", "episode_discard", "episode_rerecord", "episode_save")


class Acknowledge(Protocol):
    """Answers a command by its id: with a result, or why it was not done."""

    def __call__(self, id: int, result: Any = None, error: str | None = None) -> None: ...


class RecorderCommands:
    """Of one recorder. `hear` gives an event to its strategy, and returns what the answer has to
    wait for; `progress` is what the strategy says; `following`: whether the robot has executed a
    step, so that there is a strategy; `highlights`: it keeps what is marked."""

    def __init__(
        self,
        dataset: DatasetRecorder,
        hear: Callable[[StrategyEvent, int], Future[Any] | None],
        progress: Callable[[], str],
        following: Callable[[], bool],
        acknowledge: Acknowledge,
        *,
        highlights: bool,
    ) -> None:
        self._dataset, self._hear, self._progress = dataset, hear, progress
        self._following, self._acknowledge, self._highlights = following, acknowledge, highlights
        self._waiting: list[tuple[int, Future[Any]]] = []
        """Commands that are answered when their episode has begun, or is durable."""

        self._early: list[tuple[Command, int]] = []
        """Starts before the robot's first step, and until when they wait for it."""

    @property
    def waits(self) -> bool:
        """Whether a person waits for an episode to begin, or to be durable."""
        return bool(self._waiting)

    @property
    def due(self) -> bool:
        """Whether a command can be answered now."""
        return any(future.done() for _, future in self._waiting)

    def carry_out(self, command: Command, now_ns: int) -> None:
        """Carry out one of VERBS, and answer it now or, by `answer`, later."""
        if command.verb == "episode_start" and not self._following():
            self._early.append((command, now_ns + _FIRST_STEP_NS))
            return
        self._answer(command, now_ns)

    def serve(self, now_ns: int) -> None:
        """Carry out the starts that came before the robot's first step, or refuse them."""
        early, self._early = self._early, []
        for command, until_ns in early:
            if self._following():
                self._answer(command, now_ns)
            elif now_ns < until_ns:
                self._early.append((command, until_ns))
            else:
                why = "no episode begins now: control has not executed a step yet"
                self._acknowledge(command.id, error=why)

    def _answer(self, command: Command, now_ns: int) -> None:
        why, awaited = self._carry_out(command, now_ns)
        if why:
            self._acknowledge(command.id, error=why)
        elif awaited is not None:
            self._waiting.append((command.id, awaited))
        else:
            self._acknowledge(command.id, self._brief())

    def answer(self) -> None:
        """Answer the commands whose episode has begun, is durable, or is lost."""
        for id, future in [each for each in self._waiting if each[1].done()]:
            self._waiting.remove((id, future))
            error = future.exception()
            if error is not None:
                self._acknowledge(id, error=self._dataset.reason or str(error))
            elif future.result() is None:
                self._acknowledge(id, self._brief())
            else:
                saved = {"saved": future.result(), "root": str(self._dataset.root)}
                self._acknowledge(id, {**self._brief(), **saved})

    def _carry_out(self, command: Command, now_ns: int) -> tuple[str, Future[Any] | None]:
        """Why it is not done, or what its answer waits for."""
        match command.verb:
            case "episode_start":
                return self._start(command.args.get("episode"), now_ns)
            case "episode_save":
                if not self._highlights:
                    why = "`save` is for `strategy: {type: highlight}`, in the robot's entry"
                    return why, None
                self._hear(EpisodeSave(), now_ns)
                return "", None
        if not self._dataset.recording:
            why = "no episode is being recorded: `actorctl episode start`"
            return self._dataset.reason or why, None
        if command.verb == "episode_stop":
            success = command.args.get("success")
            kept = self._hear(EpisodeStop(success if isinstance(success, bool) else None), now_ns)
            why = "the episode has no frames: nothing was commanded, and it is not kept"
            return ("", kept) if kept is not None else (why, None)
        again = command.verb == "episode_rerecord"
        self._hear(EpisodeRerecord() if again else EpisodeDiscard(), now_ns)
        return "", None

    def _start(self, episode: object, now_ns: int) -> tuple[str, Future[Any] | None]:
        if not isinstance(episode, int):
            return f"`episode` is the robot's number of the episode, not {episode!r}", None
        before = self._progress()
        begun = self._hear(EpisodeStart(episode), now_ns)
        if begun is None and not self._dataset.recording and self._progress() == before:
            return f"no episode begins now: {before or self._dataset.reason}", None
        return "", begun

    def _brief(self) -> dict[str, Any]:
        return {"state": self._dataset.state, "recording": self._dataset.next_index}

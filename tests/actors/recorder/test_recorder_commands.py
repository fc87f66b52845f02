"""What is answered to a person who begins, keeps, drops or marks an episode, and when."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.recorder.dataset_recorder import DatasetRecorder
from holdfast.actors.recorder.recorder_commands import RecorderCommands
from holdfast.actors.recorder.strategy import (
    EpisodeDiscard,
    EpisodeSave,
    EpisodeStart,
    EpisodeStop,
    StrategyEvent,
)
from holdfast.actors.runtime.link_messages import Command
from holdfast.robot.dataset.encoding import Encoding
from holdfast.robot.dataset.recording_schema import RecordingSchema


class Desk:
    """Commands for a recorder whose strategy the test plays."""

    def __init__(self, root: Path, *, highlights: bool = False) -> None:
        schema = RecordingSchema(30, ("a",), ("a",), {})
        self.dataset = DatasetRecorder(root, "r1", schema, Encoding(), logging.getLogger("test"))
        self.heard: list[StrategyEvent] = []
        self.awaited: Future[Any] | None = None
        self.progress = ""
        self.following = True
        self.answers: list[tuple[int, Any, str | None]] = []
        self.commands = RecorderCommands(
            self.dataset,
            self._hear,
            lambda: self.progress,
            lambda: self.following,
            self._answer,
            highlights=highlights,
        )

    def say(self, verb: str, **args: object) -> None:
        self.commands.carry_out(Command(verb, args, id=len(self.answers) + 1), 0)

    def _hear(self, event: StrategyEvent, now_ns: int) -> Future[Any] | None:
        self.heard.append(event)
        return self.awaited

    def _answer(self, id: int, result: Any = None, error: str | None = None) -> None:
        self.answers.append((id, result, error))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Nothing is recorded yet."""
    made = Desk(tmp_path / "data")
    yield made
    made.dataset.recording = False
    made.dataset.close()


def test_a_start_that_keeps_the_episode_before_it_is_answered_once_that_is_safe(
    desk: Desk,
) -> None:
    """The answer has the number of the episode that begins, and of the one that was kept."""
    desk.dataset.recording, desk.awaited = True, Future()
    desk.say("episode_start", episode=4)
    assert (desk.heard, desk.answers, desk.commands.due) == ([EpisodeStart(4)], [], False)
    desk.awaited.set_result(3)
    assert desk.commands.due is True
    desk.commands.answer()
    ((id, result, error),) = desk.answers
    assert (id, error, result["saved"]) == (1, None, 3) and "recording" in result
    assert not desk.commands.due


def test_an_episode_that_the_disk_did_not_take_is_answered_with_the_reason(desk: Desk) -> None:
    """The recorder's own, where it has one."""
    desk.dataset.recording, desk.awaited = True, Future()
    desk.say("episode_stop", success=True)
    desk.awaited.set_exception(OSError("no space"))
    desk.commands.answer()
    assert desk.answers == [(1, None, "no space")]
    assert desk.heard == [EpisodeStop(success=True)]


@pytest.mark.parametrize("verb", ["episode_stop", "episode_discard", "episode_rerecord"])
def test_what_needs_an_episode_in_progress_says_so(desk: Desk, verb: str) -> None:
    """The strategy hears nothing of it."""
    desk.say(verb)
    assert "no episode is being recorded" in (desk.answers[0][2] or "") and not desk.heard


def test_a_start_that_begins_nothing_is_refused_with_what_the_strategy_says(desk: Desk) -> None:
    """Such as that all episodes are recorded; and one without the robot's number."""
    desk.progress = "has recorded all episodes (3 of 3 kept)"
    desk.say("episode_start", episode=9)
    desk.say("episode_start")
    assert [error for _, _, error in desk.answers] == [
        "no episode begins now: has recorded all episodes (3 of 3 kept)",
        "`episode` is the robot's number of the episode, not None",
    ]


def test_a_stop_without_frames_is_refused_and_a_discard_is_done_at_once(desk: Desk) -> None:
    """Nothing was commanded in it."""
    desk.dataset.recording = True
    desk.say("episode_stop")
    desk.say("episode_discard")
    assert "no frames" in (desk.answers[0][2] or "") and desk.answers[1][2] is None
    assert desk.heard[-1] == EpisodeDiscard()


def test_a_mark_is_for_the_strategy_that_keeps_what_is_marked(desk: Desk, tmp_path: Path) -> None:
    """Others refuse it with its name."""
    desk.say("episode_save")
    assert "highlight" in (desk.answers[0][2] or "")
    marked = Desk(tmp_path / "marked", highlights=True)
    marked.say("episode_save")
    marked.dataset.close()
    assert marked.heard == [EpisodeSave()] and marked.answers[0][2] is None


@pytest.mark.parametrize("begins", [True, False])
def test_a_start_before_the_robots_first_step_waits_for_it(desk: Desk, begins: bool) -> None:
    """It is carried out then, or refused with the reason after some seconds."""
    desk.following, desk.awaited = False, Future()
    desk.say("episode_start", episode=1)
    desk.commands.serve(0)
    assert not desk.heard and not desk.answers
    desk.following = begins
    desk.commands.serve(10_000_000_000)
    desk.awaited.set_result(None)
    desk.commands.answer()
    ((_, _, error),) = desk.answers
    if begins:
        assert desk.heard == [EpisodeStart(1)] and error is None
    else:
        assert not desk.heard and "control has not executed a step yet" in (error or "")

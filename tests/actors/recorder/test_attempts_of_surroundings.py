"""Where an attempt begins on a robot whose surroundings have attempts of their own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.recorder.episodic import EpisodicStrategy
from holdfast.actors.recorder.strategy import (
    Begin,
    ControlVerb,
    EpisodeRerecord,
    EpisodeStart,
    EpisodeStop,
    RecordingEffect,
    RobotStep,
    StrategyEvent,
)

STEP_NS = 100_000_000
By = Literal["policy", "person"]
MOVES = st.lists(
    st.one_of(
        st.integers(1, 30),
        st.sampled_from([EpisodeStop(success=True), EpisodeRerecord(), "start"]),
    ),
    max_size=40,
)


@dataclass
class Cell:
    """A robot in surroundings whose attempts have `lengths` steps, over and over, in which time
    passes always, or while something commands the robot. They begin one at a reset, unless they do
    so at their `own_pace` alone. A command arrives `delay` steps late."""

    lengths: list[int]
    delay: int
    own_pace: bool
    waits: bool
    strategy: EpisodicStrategy
    now_ns: int = 0
    episode: int = 0
    attempt: int = 0
    age: int = 0
    hands: str = "none"
    since: int = 0
    recording: bool = False
    rows: int = 0
    begun_at_age: list[int] = field(default_factory=list)
    whole: list[tuple[int, int]] = field(default_factory=list)
    """Rows and length of each attempt that the surroundings ended while it was recorded."""
    coming: deque[tuple[int, ControlVerb]] = field(default_factory=deque)

    @property
    def length(self) -> int:
        return self.lengths[self.attempt % len(self.lengths)]

    def play(self, moves: list[int | str | StrategyEvent]) -> None:
        for move in moves:
            if isinstance(move, int):
                for _ in range(move):
                    self.step()
            elif move == "start":  # as `actorctl episode start` does
                self.reset(None)
                self.carry_out(self.strategy.on(EpisodeStart(self.episode), self.now_ns))
            else:
                assert not isinstance(move, str)
                self.carry_out(self.strategy.on(move, self.now_ns))

    def step(self) -> None:
        self.now_ns += STEP_NS
        while self.coming and self.coming[0][0] <= 0:
            self.command(self.coming.popleft()[1])
        self.coming = deque((left - 1, verb) for left, verb in self.coming)
        ended = 0
        if self.hands != "none" or not self.waits:
            self.age += 1
            if self.age >= self.length:
                ended, self.age = self.length, 0
                self.attempt += 1
                self.episode += 1
        if self.recording and ended:
            self.whole.append((self.rows, ended))
        seen = RobotStep(self.episode, self.now_ns, own_pace=self.own_pace)
        self.carry_out(self.strategy.step(seen))
        self.rows += self.recording

    def command(self, verb: ControlVerb) -> None:
        if verb.verb == "reset":
            self.reset(verb.args.get("after"))
        else:
            self.hands = {"resume": "policy", "take-over": "person"}.get(verb.verb, "none")

    def reset(self, after: int | None) -> None:
        if after in (None, self.episode):
            self.episode += 1
            if not self.own_pace:
                self.attempt, self.age = self.attempt + 1, 0

    def carry_out(self, effects: list[RecordingEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Begin):
                self.recording, self.rows = True, 0
                self.begun_at_age.append(self.age)
            elif isinstance(effect, ControlVerb):
                self.coming.append((self.delay, effect))
            else:
                self.recording = False


def cell(
    lengths: list[int],
    delay: int,
    by: By,
    *,
    own_pace: bool,
    waits: bool = False,
    reset: int | None = 3,
) -> Cell:
    reset_ns = None if reset is None else reset * STEP_NS
    return Cell(lengths, delay, own_pace, waits, EpisodicStrategy(1000, by, None, reset_ns))


@pytest.mark.parametrize("own_pace", [False, True])
@pytest.mark.parametrize("by", ["policy", "person"])
@given(
    lengths=st.lists(st.integers(4, 25), min_size=1, max_size=4),
    delay=st.integers(0, 2),
    waits=st.booleans(),
    reset=st.none() | st.integers(1, 20),
    moves=MOVES,
)
def test_an_attempt_is_recorded_from_the_beginning_of_one_of_the_surroundings(
    own_pace: bool,
    by: By,
    lengths: list[int],
    delay: int,
    waits: bool,
    reset: int | None,
    moves: list[int | str | StrategyEvent],
) -> None:
    """Whatever they do while the command for it is on its way; what they end is whole."""
    robot = cell(lengths, delay, by, own_pace=own_pace, waits=waits, reset=reset)
    robot.play([1, *moves, 60])
    # A reset comes between two steps: the first step that is seen after it may be the second.
    late = 0 if own_pace else 1
    assert all(age <= late for age in robot.begun_at_age)
    assert all(length - rows <= late for rows, length in robot.whole)


def test_the_progress_says_what_is_waited_for() -> None:
    """While the surroundings are played to their next attempt, that is what is waited for."""
    robot = cell([40], 0, "policy", own_pace=True)
    robot.play([10])
    said = robot.strategy.progress
    assert said == "waits for its surroundings to begin an episode (0 of 1000 kept)"
    assert robot.hands == "policy"
    robot.play([40])
    assert robot.strategy.progress.startswith("records an episode")


def test_a_button_begins_an_attempt_that_is_not_the_one_under_way() -> None:
    """Surroundings that went on during the rest have counted several by then."""
    robot = cell([10], 0, "policy", own_pace=False, reset=None)
    robot.play([35, EpisodeStop(success=True), 3])
    assert robot.recording and robot.begun_at_age[0] <= 1

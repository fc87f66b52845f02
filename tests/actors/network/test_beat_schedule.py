"""How often a robot sends heartbeats: as often as it must, and seldom while its requests are
answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.network.beat_schedule import MOST_BEATS, QUIET_BEATS, BeatSchedule

BEAT = 10
"""Ticks between two heartbeats of a robot that sends nothing else."""
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3 * BEAT), st.sampled_from(["ask", "answer", "late", "STALLED", "STREAMING"])
    ),
    max_size=30,
)


@dataclass
class Robot:
    """A robot that asks its schedule in every tick."""

    schedule: BeatSchedule = field(default_factory=lambda: BeatSchedule(BEAT, 10 * BEAT))
    now: int = 0
    state: str = "STREAMING"
    beats: list[tuple[int, str]] = field(default_factory=list)
    asked: int | None = None
    seq: int = 0
    answered: bool = True

    def tick(self) -> None:
        self.now += 1
        if self.schedule.due(self.state, self.now):
            self.schedule.beaten(self.state, self.now)
            self.beats.append((self.now, self.state))

    def does(self, what: str) -> None:
        if what == "ask":
            self.seq += 1
            self.schedule.asked(self.seq, self.now)
            self.asked, self.answered = self.now, False
        elif what == "answer":
            self.schedule.answered(self.seq)
            self.answered = True
        elif what == "late":  # to the request before, which is not awaited any more
            self.schedule.answered(self.seq - 1)
        else:
            self.state = what


@given(EVENTS)
def test_a_robot_is_heard_of_every_second_heartbeat_and_asks_about_a_late_answer(
    events: list[tuple[int, str]],
) -> None:
    """Never sooner than a heartbeat after the last nor later than three; a new state at once."""
    robot = Robot()
    for pause, what in events:
        for _ in range(pause):
            robot.tick()
            last, told = robot.beats[-1]
            spoke = max(last, robot.asked if robot.asked is not None else last)
            assert robot.now - spoke < QUIET_BEATS * BEAT, "the broker hears of it"
            assert robot.now - last < MOST_BEATS * BEAT, "its vitals are current"
            if robot.now - last >= BEAT:
                assert told == robot.state, "its state is known"
                assert robot.answered or robot.now - (robot.asked or 0) < BEAT, "it asks"
        robot.does(what)
    times = [at for at, _ in robot.beats]
    assert all(later - sooner >= BEAT for sooner, later in pairwise(times))


@pytest.mark.parametrize(
    ("heartbeat_s", "dead_after_s", "thins"),
    [
        *((0.5, 2.0, True), (0.51, 2.0, False), (1.25, 2.0, False), (0.05, 0.2, True)),
        *((0.7, 60.0, True), (0.75, 60.0, False)),  # the broker would give its name away
    ],
)
def test_no_heartbeat_is_left_out_where_silence_would_count_as_a_loss(
    heartbeat_s: float, dead_after_s: float, thins: bool
) -> None:
    """Two heartbeats' time is at most half of the connection's bound, and below a takeover's."""
    beat_ns = round(heartbeat_s * 1e9)
    schedule = BeatSchedule(beat_ns, round(dead_after_s * 1e9))
    schedule.beaten("", 0)
    schedule.asked(1, beat_ns)
    schedule.answered(1)
    assert schedule.due("", beat_ns) is not thins


def test_a_robot_that_asks_nothing_sends_every_heartbeat() -> None:
    """So does one whose requests go straight to the replica."""
    robot = Robot()
    for _ in range(10 * BEAT):
        robot.tick()
    assert len(robot.beats) == 10


def test_a_robot_whose_requests_are_answered_sends_a_third_of_the_heartbeats() -> None:
    """Its requests come in less than two heartbeats' time, each answered two ticks later."""
    robot = Robot()
    for k in range(30 * BEAT):
        if k % 18 == 0:
            robot.does("ask")
        elif k % 18 == 2:
            robot.does("answer")
        robot.tick()
    assert len(robot.beats) == 10

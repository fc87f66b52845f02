"""What every strategy guarantees, whatever a robot and a person do in whatever order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.recorder.dagger import CorrectionStrategy
from holdfast.actors.recorder.episodic import RETRY_NS, Attempt, EpisodicStrategy
from holdfast.actors.recorder.highlight import HighlightStrategy
from holdfast.actors.recorder.sentry import SentryStrategy
from holdfast.actors.recorder.strategy import (
    BaseStrategy,
    Begin,
    ControlVerb,
    Discard,
    EpisodeDiscard,
    EpisodeRerecord,
    EpisodeSave,
    EpisodeStart,
    EpisodeStop,
    Finish,
    RecordingEffect,
    RobotStep,
    Strategy,
    StrategyEvent,
)

STEP_NS = 100_000_000
WANTED = 3

EVENTS: list[StrategyEvent] = [
    EpisodeStop(success=True),
    EpisodeStop(success=False),
    EpisodeStop(),
    EpisodeDiscard(),
    EpisodeRerecord(),
    EpisodeSave(),
]
MOVES = st.lists(
    st.one_of(
        st.integers(1, 40),  # so many steps
        st.sampled_from(EVENTS),
        st.sampled_from(["start", "episode ends", "episode succeeds", "hands", "refuse"]),
    ),
    max_size=60,
)
Move = int | str | StrategyEvent


class World:
    """A robot, a person and a recorder around one strategy. `commands` are carried out at once,
    unless `refuses`."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.now_ns = self.episode = 0
        self.hands, self.refuses, self.recording = "none", False, False
        self.outcome: bool | None = None
        self.spans: list[tuple[int, int | None, bool | None]] = []
        """Of each recorded episode: begin, end, and whether it was kept."""
        self.rows: list[tuple[int, str]] = []
        self.begun_ns = 0

    def play(self, moves: list[Move]) -> None:
        for move in moves:
            match move:
                case int():
                    for _ in range(move):
                        self.step()
                case "start":
                    self.episode += 1
                    self.carry_out(self.strategy.on(EpisodeStart(self.episode), self.now_ns))
                case "episode ends" | "episode succeeds":
                    self.episode += 1
                    self.outcome = move == "episode succeeds"
                case "hands":
                    self.hands = "policy" if self.hands == "person" else "person"
                case "refuse":
                    self.refuses = not self.refuses
                case _:
                    assert not isinstance(move, str)
                    self.carry_out(self.strategy.on(move, self.now_ns))

    def step(self) -> None:
        self.now_ns += STEP_NS
        outcome, self.outcome = self.outcome, None
        seen = RobotStep(self.episode, self.now_ns, self.hands == "person", outcome)
        self.carry_out(self.strategy.step(seen))
        if self.recording:
            self.rows.append((self.now_ns, self.hands))

    def carry_out(self, effects: list[RecordingEffect]) -> None:
        for effect in effects:
            match effect:
                case Begin():
                    assert not self.recording, "an episode begins within another"
                    self.recording, self.begun_ns = True, self.now_ns
                case Finish() | Discard():
                    assert self.recording, "what was not begun ends"
                    self.recording = False
                    kept = isinstance(effect, Finish)
                    self.spans.append((self.begun_ns, self.now_ns, kept))
                case ControlVerb(verb, args) if not self.refuses:
                    wanted = args.get("after") in (None, self.episode)
                    self.episode += verb == "reset" and wanted
                    hands = {"resume": "policy", "take-over": "person"}
                    if verb != "reset":
                        self.hands = hands.get(verb, "none")

    @property
    def kept(self) -> int:
        return sum(kept is True for _, _, kept in self.spans)


def episodic() -> EpisodicStrategy:
    return EpisodicStrategy(WANTED, "policy", 30 * STEP_NS, 5 * STEP_NS, {"a": 1.0})


MAKERS: dict[str, Callable[[], Strategy]] = {
    "base": BaseStrategy,
    "episodic": episodic,
    "teleop": lambda: EpisodicStrategy(WANTED, "person", None, None),
    "dagger": lambda: CorrectionStrategy(WANTED),
    "sentry": lambda: SentryStrategy(20 * STEP_NS, 10**9),
    "highlight": lambda: HighlightStrategy(10 * STEP_NS),
}


@pytest.mark.parametrize("kind", MAKERS)
@given(moves=MOVES)
def test_episodes_alternate_and_what_is_kept_is_counted(kind: str, moves: list[Move]) -> None:
    """No episode within another, no end without a begin; those with a number keep no more."""
    world = World(MAKERS[kind]())
    world.play(moves)
    assert world.strategy.kept == world.kept
    if kind in ("episodic", "teleop", "dagger"):
        assert world.kept <= WANTED
        assert world.strategy.done == (world.kept == WANTED)
        if world.kept == WANTED:
            assert not world.recording and "all" in world.strategy.progress


@given(moves=MOVES)
def test_between_two_attempts_the_policy_does_not_command_the_robot(moves: list[Move]) -> None:
    """After an end, and before the first begin, it rests, unless a command of it was refused."""
    world = World(episodic())
    for move in moves:
        if move in ("hands", "refuse"):
            continue
        world.play([move])
        if world.strategy.attempt in (Attempt.WAITING, Attempt.DONE) and world.now_ns:  # type: ignore[attr-defined]
            assert world.hands == "none"
        if world.recording:
            assert world.hands == "policy"


@given(moves=MOVES)
def test_an_attempt_is_recorded_from_the_robots_episode_on_and_ends_in_time(
    moves: list[Move],
) -> None:
    """Its rows are of one episode of the robot's, and of no more time than it has."""
    world = World(episodic())
    for move in moves:
        episodes: set[int] = set()
        world.play([move] if not isinstance(move, int) else [])
        for _ in range(move if isinstance(move, int) else 0):
            world.step()
            if world.recording:
                episodes.add(world.episode)
                assert world.now_ns - world.begun_ns <= 30 * STEP_NS
            else:
                episodes.clear()
            assert len(episodes) <= 1


@pytest.mark.parametrize("kind", MAKERS)
@given(moves=MOVES)
def test_an_episode_that_the_disk_did_not_take_is_not_counted(kind: str, moves: list[Move]) -> None:
    """However many are lost, a number of episodes is reached only by those that are kept."""

    class Full(World):
        def carry_out(self, effects: list[RecordingEffect]) -> None:
            super().carry_out(effects)
            for effect in effects:
                if isinstance(effect, Finish):
                    self.strategy.lost(self.now_ns)

    world = Full(MAKERS[kind]())
    world.play(moves)
    assert world.strategy.kept == 0
    assert "all" not in world.strategy.progress.split("(")[0].replace("everything", "")


@pytest.mark.parametrize("kind", ["episodic", "teleop", "dagger"])
@given(moves=MOVES)
def test_a_strategy_that_had_kept_all_records_none_after_a_restart(
    kind: str, moves: list[Move]
) -> None:
    """The count of the process that was killed is its successor's."""
    strategy = MAKERS[kind]()
    strategy.kept = WANTED
    world = World(strategy)
    world.play([1, *moves])
    assert world.spans == [] and not world.recording
    assert strategy.done and strategy.kept == WANTED


def test_a_start_within_an_attempt_keeps_it_and_begins_the_next() -> None:
    """One attempt is saved and the next is recorded, as `actorctl episode start` says."""
    world = World(MAKERS["teleop"]())
    world.play([1, "start", 5])
    assert world.recording
    world.play(["start", 5])
    assert world.recording and world.kept == 1 and world.hands == "person"


def test_nothing_moves_before_the_first_attempt() -> None:
    """A person is not followed until they say so."""
    world = World(MAKERS["teleop"]())
    world.play([30])
    assert (world.recording, world.hands) == (False, "none")


def test_a_robot_that_refuses_to_begin_is_asked_again() -> None:
    """Nothing is recorded until it has begun an episode."""
    world = World(episodic())
    world.play(["refuse", 20])
    assert (world.recording, world.hands) == (False, "none")
    world.play(["refuse", RETRY_NS // STEP_NS + 1])
    assert (world.recording, world.hands) == (True, "policy")


def test_the_surroundings_verdict_is_kept_with_the_episode() -> None:
    """A simulated cell says how an attempt ended."""
    found: list[bool | None] = []

    class Judged(World):
        def carry_out(self, effects: list[RecordingEffect]) -> None:
            found.extend(e.success for e in effects if isinstance(e, Finish))
            super().carry_out(effects)

    world = Judged(episodic())
    world.play([20, "episode succeeds", 20, "episode ends", 20])
    assert found == [True, False]


@given(moves=MOVES)
def test_a_correction_has_the_persons_rows_and_no_others(moves: list[Move]) -> None:
    """What the policy does before and after it is not in the dataset."""
    world = World(CorrectionStrategy(WANTED))
    world.play(moves)
    assert {hands for _, hands in world.rows} <= {"person"}


@given(moves=MOVES)
def test_a_sentry_leaves_out_no_step_and_no_episode_is_longer_than_it_may_be(
    moves: list[Move],
) -> None:
    """But for those that a person drops."""
    world = World(SentryStrategy(20 * STEP_NS, 10**9))
    world.play(moves)
    assert [at for at, _ in world.rows] == list(range(STEP_NS, world.now_ns + 1, STEP_NS))
    assert all(end - begin <= 20 * STEP_NS for begin, end, _ in world.spans if end is not None)


def test_a_sentry_begins_another_episode_when_the_files_are_large_enough() -> None:
    """The size is that of the episode in progress."""
    strategy = SentryStrategy(10**12, 1000)
    assert strategy.step(RobotStep(0, 1)) == [Begin()]
    assert strategy.step(RobotStep(0, 2, size_bytes=999)) == []
    assert strategy.step(RobotStep(0, 3, size_bytes=1000)) == [Finish(), Begin()]


@given(gaps=st.lists(st.integers(1, 25), max_size=10))
def test_a_highlight_reaches_from_before_its_first_mark_to_after_its_last(gaps: list[int]) -> None:
    """Marks that are closer together than the time after one belong to the same highlight."""
    world = World(HighlightStrategy(10 * STEP_NS))
    marks = []
    for gap in gaps:
        world.play([gap, EpisodeSave()])
        marks.append(world.now_ns)
    world.play([12])
    assert not world.recording
    for mark in marks:
        assert any(begin <= mark and mark + 10 * STEP_NS <= end for begin, end, _ in world.spans)  # type: ignore[operator]
    for begin, end, _ in world.spans:
        assert begin in marks and end is not None and end - 10 * STEP_NS in marks

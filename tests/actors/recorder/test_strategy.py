"""When the base strategy records, for any order of steps, resets and commands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.recorder.strategy import (
    BaseStrategy,
    Begin,
    Discard,
    EpisodeDiscard,
    EpisodeStart,
    EpisodeStop,
    Finish,
    InterventionSwitch,
    MarkIntervention,
    RecordingEffect,
    RobotStep,
)

MOVES = st.lists(
    st.one_of(
        st.just("step"),
        st.just("reset"),
        st.just("start"),
        st.just(EpisodeStop(True)),
        st.just(EpisodeStop()),
        st.just(EpisodeDiscard()),
        st.just(InterventionSwitch(True)),
    )
)


@given(MOVES)
def test_an_episode_begins_once_and_ends_before_the_next(moves: list[object]) -> None:
    """Begin and Finish or Discard alternate, whatever is said in whatever order."""
    strategy, episode, recording = BaseStrategy(), 0, False
    for move in moves:
        effects: list[RecordingEffect]
        if move == "start":
            episode += 1
            effects = strategy.on(EpisodeStart(episode), 0)
        elif isinstance(move, EpisodeStop | EpisodeDiscard | InterventionSwitch):
            effects = strategy.on(move, 0)
        else:
            episode += move == "reset"
            effects = strategy.step(RobotStep(episode, 0))
        for effect in effects:
            if isinstance(effect, Begin):
                assert not recording
                recording = True
            elif isinstance(effect, Finish | Discard):
                assert recording
                recording = False
        if move == "start":
            assert recording, "after a start, an episode is recorded"


def test_nothing_is_recorded_before_the_first_start_or_reset() -> None:
    """Steps of the episode that goes on when the recorder starts are left out."""
    strategy = BaseStrategy()
    assert strategy.step(RobotStep(4, 0)) == []
    assert strategy.step(RobotStep(4, 1)) == []
    assert strategy.on(EpisodeStop(), 2) == []
    assert strategy.step(RobotStep(5, 3)) == [Begin()]


def test_a_reset_ends_one_episode_and_begins_the_next() -> None:
    """The one before is kept, without a judgement."""
    strategy = BaseStrategy()
    strategy.step(RobotStep(0, 0))
    assert strategy.step(RobotStep(1, 1)) == [Begin()]
    assert strategy.step(RobotStep(2, 2)) == [Finish(None), Begin()]


def test_a_start_whose_reset_was_seen_already_changes_nothing() -> None:
    """`episode start` resets the robot first: its first steps may come before the command."""
    strategy = BaseStrategy()
    strategy.step(RobotStep(0, 0))
    assert strategy.step(RobotStep(1, 1)) == [Begin()]
    assert strategy.on(EpisodeStart(1), 2) == []
    assert strategy.on(EpisodeStop(success=False), 3) == [Finish(success=False)]
    assert strategy.on(EpisodeStart(1), 4) == [Begin()]
    assert strategy.on(InterventionSwitch(on=True), 5) == [MarkIntervention(intervention=True)]

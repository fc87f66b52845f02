"""What an actor that is not ready is said to wait for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.runtime.spec import Member, Rules
from holdfast.actors.supervision.state_machine import step
from holdfast.actors.supervision.supervised import (
    ActorReady,
    ActorRecord,
    ActorState,
    ClockTick,
    Exited,
    FleetState,
    Start,
    Stop,
    fleet_of,
)
from holdfast.actors.supervision.waits import waits_for

RULES = Rules(start_timeout_s=60.0, stop_timeout_s=2.0, backoff_s=4.0)


def told(
    fleet: FleetState, name: str, now_s: float, report: dict[str, object] | None = None
) -> str:
    return waits_for(fleet.actors[name], fleet.members[name].rules, fleet.actors, report, now_s)


@pytest.fixture
def fleet() -> FleetState:
    """`a` is starting, `b` comes after it."""
    made = fleet_of([Member("a", RULES), Member("b", RULES, after=("a",))], 0.0)
    return step(made, Start(), 0.0)[0]


def test_one_that_comes_after_others_names_those_that_are_not_ready(fleet: FleetState) -> None:
    assert told(fleet, "b", 0.0) == "a (STARTING) to be ready"
    fleet, _ = step(fleet, ActorReady("a", 1), 0.5)
    assert fleet.actors["b"].state is ActorState.STARTING
    assert told(fleet, "b", 2.5) == "its setup, 2 s of at most 60 s"


def test_a_setup_that_says_what_it_is_at_is_believed_only_for_its_own_incarnation(
    fleet: FleetState,
) -> None:
    said = {"phase": {"incarnation": 1, "text": "loads policy flow onto cpu"}}
    assert told(fleet, "a", 3.0, said).endswith("3 s of at most 60 s: loads policy flow onto cpu")
    said["phase"]["incarnation"] = 2
    assert told(fleet, "a", 3.0, said) == "its setup, 3 s of at most 60 s"


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_whatever_stands_on_a_board_a_wait_is_told(said: object) -> None:
    """It is the actor's, who may be of another version, or mad; the supervisor lives on."""
    starting = step(fleet_of([Member("a", RULES)], 0.0), Start(), 0.0)[0]
    for phase in (said, {"incarnation": 1, "text": said}, {"text": said}):
        report = {"phase": phase}
        assert told(starting, "a", 3.0, report).startswith("its setup, 3 s of at most 60 s")


def test_a_back_off_and_a_stop_say_when_they_end(fleet: FleetState) -> None:
    for incarnation in (1, 2):
        fleet, _ = step(fleet, Exited("a", incarnation, 1), float(incarnation), jitter=1.0)
    assert fleet.actors["a"].state is ActorState.BACKOFF
    assert told(fleet, "a", 2.5) == "its next start in 3.5 s"
    fleet, _ = step(fleet, ClockTick(), 2.9)
    stopping, _ = step(ready(), Stop(("a",)), 1.0)
    assert told(stopping, "a", 1.5) == "its process to end, by force in 1.5 s"


def test_a_ready_one_waits_for_nothing_and_a_stopped_one_neither() -> None:
    fleet = ready()
    assert told(fleet, "a", 1.0) == ""
    for event in (Stop(("a",)), Exited("a", 1, 0)):
        fleet, _ = step(fleet, event, 1.0)
    assert fleet.actors["a"].reason == "stopped by a person"
    assert told(fleet, "a", 1.0) == ""


def test_an_old_reason_does_not_outlive_what_it_was_the_reason_of() -> None:
    """Stopped and started again, an actor is not said to be stopped by a person."""
    fleet = ready()
    for event in (Stop(("a",)), Exited("a", 1, 0), Start(("a",))):
        fleet, _ = step(fleet, event, 1.0)
    assert (fleet.actors["a"].state, fleet.actors["a"].reason) == (
        ActorState.STARTING,
        "started by a person",
    )


def test_whom_the_start_limit_holds_back_is_told_so() -> None:
    waiting = ActorRecord(ActorState.WAITING, wanted=True)
    assert waits_for(waiting, RULES, {"a": waiting}, None, 0.0).startswith("its turn")


def ready() -> FleetState:
    fleet = fleet_of([Member("a", RULES)], 0.0)
    for event in (Start(), ActorReady("a", 1)):
        fleet, _ = step(fleet, event, 0.0)
    return fleet

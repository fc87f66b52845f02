"""The description of what an actor waits for."""

from __future__ import annotations

from collections.abc import Mapping

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


def wait_of(
    fleet: FleetState, name: str, now_s: float, report: Mapping[str, object] | None = None
) -> str:
    return waits_for(fleet.actors[name], fleet.members[name].rules, fleet.actors, report, now_s)


@pytest.fixture
def fleet() -> FleetState:
    """A fleet in which `a` is starting and `b` comes after it."""
    made = fleet_of([Member("a", RULES), Member("b", RULES, after=("a",))], 0.0)
    return step(made, Start(), 0.0)[0]


def test_a_waiting_actor_names_those_that_are_not_ready(fleet: FleetState) -> None:
    """Then it starts, and its wait is its setup with the time limit."""
    assert wait_of(fleet, "b", 0.0) == "a (STARTING) to be ready"
    fleet, _ = step(fleet, ActorReady("a", 1), 0.5)
    assert fleet.actors["b"].state is ActorState.STARTING
    assert wait_of(fleet, "b", 2.5) == "its setup, 2 s of at most 60 s"


def test_a_phase_of_setup_is_shown_for_its_own_incarnation_only(
    fleet: FleetState,
) -> None:
    """A phase of another incarnation is ignored."""
    reported = {"setup": {"incarnation": 1, "phase": "loads policy flow onto cpu"}}
    assert wait_of(fleet, "a", 3.0, reported).endswith(
        "3 s of at most 60 s: loads policy flow onto cpu"
    )
    reported["setup"]["incarnation"] = 2
    assert wait_of(fleet, "a", 3.0, reported) == "its setup, 3 s of at most 60 s"


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_a_wait_is_described_whatever_the_board_holds(reported: object) -> None:
    """Any value as phase leaves the description of the setup intact."""
    starting = step(fleet_of([Member("a", RULES)], 0.0), Start(), 0.0)[0]
    for setup in (reported, {"incarnation": 1, "phase": reported}, {"phase": reported}):
        report = {"setup": setup}
        assert wait_of(starting, "a", 3.0, report).startswith("its setup, 3 s of at most 60 s")


def test_a_back_off_and_a_stop_show_when_they_end(fleet: FleetState) -> None:
    """The remaining time is computed from the deadline."""
    for incarnation in (1, 2):
        fleet, _ = step(fleet, Exited("a", incarnation, 1), float(incarnation), jitter=1.0)
    assert fleet.actors["a"].state is ActorState.BACKOFF
    assert wait_of(fleet, "a", 2.5) == "its next start in 3.5 s"
    fleet, _ = step(fleet, ClockTick(), 2.9)
    stopping, _ = step(ready(), Stop(("a",)), 1.0)
    assert wait_of(stopping, "a", 1.5) == "its process to end, by force in 1.5 s"


def test_a_ready_and_a_stopped_actor_wait_for_nothing() -> None:
    """The wait is empty in READY and in STOPPED."""
    fleet = ready()
    assert wait_of(fleet, "a", 1.0) == ""
    for event in (Stop(("a",)), Exited("a", 1, 0)):
        fleet, _ = step(fleet, event, 1.0)
    assert fleet.actors["a"].reason == "stopped by a person"
    assert wait_of(fleet, "a", 1.0) == ""


def test_a_reason_ends_with_the_state_that_it_explains() -> None:
    """An actor that is started again no longer shows that a person stopped it."""
    fleet = ready()
    for event in (Stop(("a",)), Exited("a", 1, 0), Start(("a",))):
        fleet, _ = step(fleet, event, 1.0)
    assert (fleet.actors["a"].state, fleet.actors["a"].reason) == (
        ActorState.STARTING,
        "started by a person",
    )


def test_an_actor_that_the_start_limit_delays_waits_for_its_turn() -> None:
    """Its wait names the limit."""
    waiting = ActorRecord(ActorState.WAITING, wanted=True)
    assert waits_for(waiting, RULES, {"a": waiting}, None, 0.0).startswith("its turn")


def ready() -> FleetState:
    fleet = fleet_of([Member("a", RULES)], 0.0)
    for event in (Start(), ActorReady("a", 1)):
        fleet, _ = step(fleet, event, 0.0)
    return fleet

"""Whether and when the supervision state machine starts an actor again."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from holdfast.actors.runtime.spec import Member
from holdfast.actors.supervision.state_machine import step
from holdfast.actors.supervision.supervised import (
    ActorReady,
    ActorState,
    ClockTick,
    Exited,
    Faulty,
    Restart,
    Spawn,
    Start,
    Stop,
    StopAll,
    SupervisionEvent,
)
from holdfast.tests.actors.supervision.transcript import REMEDY, RULES, Transcript, up

NOT_RESTARTED = f"exited with status 1; it is not to be restarted: {REMEDY}"
REFUSED = f"refused its configuration: exited with status 3; {REMEDY}"
GIVEN_UP = "killed by SIGKILL; it failed {}: " + REMEDY


def test_an_actor_that_fails_too_often_in_a_row_is_given_up_with_the_count_and_a_remedy() -> None:
    """More failures in a row than `max_restarts` end in FAILED, and nothing is pending then."""
    log = up()
    for incarnation in (1, 2):
        log.of("a", Exited("a", incarnation, -9), ClockTick(), after_s=1)
    assert log.of("a", Exited("a", 3, -9)) == [
        ("STARTING", "FAILED", GIVEN_UP.format("3 times in a row, never up for 5 s"))
    ]
    assert log.fleet.actors["a"].restarts == 2
    assert log.of("a", ClockTick(), after_s=0.5) == [], "nothing is pending"


def test_an_actor_that_fails_too_often_within_the_window_is_given_up() -> None:
    """`max_restarts` restarts within `window_s` and one more failure end in FAILED."""
    log = up()
    for incarnation in (1, 2, 3):
        log.now_s += 5.0
        found = log.of("a", Exited("a", incarnation, -9), ActorReady("a", incarnation + 1))
    assert found == [("READY", "FAILED", GIVEN_UP.format("3 times within 20 s"))]


@pytest.mark.parametrize("end", [Stop(("a",)), StopAll()], ids=["stop", "end"])
def test_a_stop_cancels_a_restart_that_is_under_way(end: SupervisionEvent) -> None:
    """After restart and stop the exit spawns nothing."""
    log = up()
    log.of("a", Restart(("a",)), end)
    assert not log.fleet.actors["a"].relaunch
    fleet, effects = step(log.fleet, Exited("a", 1, 0), log.now_s)
    assert fleet.actors["a"].state is ActorState.STOPPED
    assert not any(isinstance(effect, Spawn) for effect in effects)


def test_a_restart_by_a_person_clears_the_earlier_failures() -> None:
    """Failures and the window are empty afterwards; the count of restarts stays."""
    log = up()
    log.of("a", Exited("a", 1, -9), ActorReady("a", 2), Restart(("a",)))
    actor = log.fleet.actors["a"]
    assert (actor.failures, actor.restarted_at_s, actor.restarts) == (0, (), 1)


def test_a_failure_leaves_the_window_after_exactly_its_length() -> None:
    """A restart `window_s` ago no longer counts."""
    log = up()
    for incarnation in (1, 2, 3):
        log.now_s += 10.0
        log.of("a", Exited("a", incarnation, -9), ActorReady("a", incarnation + 1))
    assert log.fleet.actors["a"].state is ActorState.READY, "20 s before is no longer within 20 s"


def test_a_restart_wins_over_a_stop_but_not_over_the_end_of_the_fleet() -> None:
    """The latest request of a person counts until the fleet stops."""
    log = up()
    log.of("a", Stop(("a",)), Restart(("a",)))
    log.of("a", Exited("a", 1, 0))
    assert log.fleet.actors["a"].state is ActorState.STARTING
    log = up()
    log.of("a", StopAll(), Restart(("a",)))
    log.of("a", Exited("a", 1, 0))
    assert log.fleet.actors["a"].state is ActorState.STOPPED and log.fleet.gone


def test_an_actor_in_back_off_delays_no_actor_after_it() -> None:
    """A tick handles every actor, whatever the state of those listed before."""
    log = Transcript(Member("a", RULES), Member("b", RULES), Member("c", RULES))
    log.of("a", Start(), Stop(("a",)), Exited("a", 1, 0))
    log.of("b", ActorReady("b", 1), Exited("b", 1, -9), Exited("b", 2, -9))
    log.of("c", ActorReady("c", 1))
    assert log.of("b", ClockTick(), after_s=0.5)[-1][1] == "STARTING"
    log.of("c", *[ClockTick()] * 3, after_s=0.5)
    assert log.fleet.actors["c"].fault == "hung: no progress for 2 s"


@pytest.mark.parametrize(("jitter", "part"), [(0.0, 0.5), (0.5, 0.75), (0.9, 0.95)])
def test_half_of_a_back_off_is_jitter(jitter: float, part: float) -> None:
    """The delay is between half and the whole of the back-off, by the jitter."""
    log = up()
    log.of("a", Exited("a", 1, -9))
    fleet, _ = step(log.fleet, Exited("a", 2, -9), 0.0, jitter)
    assert fleet.actors["a"].deadline_s == pytest.approx(RULES.backoff_s * part)


@pytest.mark.parametrize(
    ("restart", "code", "state", "why"),
    [
        ("always", 0, ActorState.STARTING, "exited with status 0"),
        ("always", 1, ActorState.STARTING, "exited with status 1"),
        ("on_failure", 0, ActorState.STOPPED, "finished"),
        ("on_failure", 1, ActorState.STARTING, "exited with status 1"),
        ("never", 0, ActorState.STOPPED, "finished"),
        ("never", 1, ActorState.FAILED, NOT_RESTARTED),
        ("always", 3, ActorState.FAILED, REFUSED),
        ("never", 4, ActorState.FAILED, "is dead until a person restarts it: exited with status 4"),
    ],
)
def test_the_restart_rule_decides_what_follows_an_exit_by_itself(
    restart: str, code: int, state: ActorState, why: str
) -> None:
    """Each rule and exit code leads to its state and reason."""
    log = up(Member("a", replace(RULES, restart=restart)))
    found = log.of("a", Exited("a", 1, code))
    assert (log.fleet.actors["a"].state, found[-1][2]) == (state, why)
    assert log.fleet.actors["a"].wanted is (state is not ActorState.STOPPED)


def test_an_actor_with_a_fault_has_failed_although_it_exits_with_0() -> None:
    """`on_failure` restarts an actor that was ended for a fault."""
    log = up(Member("a", replace(RULES, restart="on_failure")))
    log.of("a", Faulty("a", 1, "it eats memory"))
    found = log.of("a", Exited("a", 1, 0))
    assert found[-1] == ("WAITING", "STARTING", "it eats memory")


def test_an_actor_that_waits_for_others_delays_no_actor_after_it() -> None:
    """Actors listed after a WAITING one start at once."""
    log = Transcript(Member("a", RULES), Member("b", RULES, after=("a",)), Member("c", RULES))
    log.of("a", Start())
    states = {name: str(actor.state) for name, actor in log.fleet.actors.items()}
    assert states == {"a": "STARTING", "b": "WAITING", "c": "STARTING"}

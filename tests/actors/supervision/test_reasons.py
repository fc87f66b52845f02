"""What each transition of supervision says, word for word: people read it in status and log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from holdfast.actors.runtime.spec import Member, Rules
from holdfast.actors.supervision.restart_policy import exit_text
from holdfast.actors.supervision.state_machine import step
from holdfast.actors.supervision.supervised import (
    ActorReady,
    ActorState,
    Changed,
    ClockTick,
    Exited,
    Faulty,
    Kill,
    Reform,
    Restart,
    Spawn,
    Start,
    Stop,
    StopAll,
    SupervisionEvent,
    fleet_of,
)

RULES = Rules(
    start_timeout_s=3,
    hang_timeout_s=2,
    stop_timeout_s=1,
    drain_timeout_s=4,
    max_restarts=2,
    window_s=20,
    backoff_s=0.5,
    settle_s=5,
)


class Told:
    """One fleet, and what it says of one actor: (old state, new state, reason)."""

    def __init__(self, *members: Member) -> None:
        self.fleet = fleet_of(members or (Member("a", RULES),), 0.0)
        self.now_s = 0.0

    def of(
        self, name: str, *events: SupervisionEvent, after_s: float = 0.0
    ) -> list[tuple[str, str, str]]:
        found = []
        for event in events:
            self.now_s += after_s
            self.fleet, effects = step(self.fleet, event, self.now_s, jitter=1.0)
            found += [
                (str(e.old), str(e.new), e.reason)
                for e in effects
                if isinstance(e, Changed) and e.name == name
            ]
        return found

    def reason(self, name: str = "a") -> str:
        return self.fleet.actors[name].reason


def up(*members: Member) -> Told:
    told = Told(*members)
    told.of("a", Start(), ActorReady("a", 1))
    return told


def test_a_life_from_start_to_stop_says_why_at_each_step() -> None:
    told = Told()
    assert told.of("a", Start()) == [
        ("STOPPED", "WAITING", "starting"),
        ("WAITING", "STARTING", ""),
    ]
    assert told.of("a", ActorReady("a", 1)) == [("STARTING", "READY", "")]
    assert told.of("a", Exited("a", 1, -9)) == [
        ("READY", "WAITING", "killed by SIGKILL"),
        ("WAITING", "STARTING", "killed by SIGKILL"),
    ]
    assert told.of("a", Exited("a", 2, 1, "no camera")) == [
        ("STARTING", "BACKOFF", "exited with status 1: no camera")
    ]
    assert told.of("a", ClockTick(), after_s=0.5) == [
        ("BACKOFF", "WAITING", "exited with status 1: no camera"),
        ("WAITING", "STARTING", "exited with status 1: no camera"),
    ]
    told.of("a", ActorReady("a", 3))
    assert told.of("a", Stop(("a",))) == [("READY", "STOPPING", "stopped by a person")]
    assert told.of("a", Exited("a", 3, 0)) == [("STOPPING", "STOPPED", "stopped by a person")]
    assert told.of("a", Start()) == [
        ("STOPPED", "WAITING", "starting"),
        ("WAITING", "STARTING", "started by a person"),
    ]


GIVEN_UP = "killed by SIGKILL; it failed {}: mend the cause, then `actorctl start a`"


def test_whoever_fails_too_often_is_given_up_with_how_often_and_what_to_do() -> None:
    told = up()
    for incarnation in (1, 2):
        told.of("a", Exited("a", incarnation, -9), ClockTick(), after_s=1)
    assert told.of("a", Exited("a", 3, -9)) == [
        ("STARTING", "FAILED", GIVEN_UP.format("3 times in a row, never up for 5 s"))
    ]
    assert told.fleet.actors["a"].restarts == 2
    assert told.of("a", ClockTick(), after_s=0.5) == [], "nothing is pending"


def test_whoever_fails_too_often_within_the_window_is_given_up_too() -> None:
    told = up()
    for incarnation in (1, 2, 3):
        told.now_s += 5.0
        found = told.of("a", Exited("a", incarnation, -9), ActorReady("a", incarnation + 1))
    assert found == [("READY", "FAILED", GIVEN_UP.format("3 times within 20 s"))]


@pytest.mark.parametrize(
    ("end", "asked"),
    [
        (Stop(("a",)), "stopped by a person"),
        (Stop(("a",), drain=True), "drained by a person"),
        (Restart(("a",)), "restarted by a person"),
        (StopAll(), "the fleet stops"),
        (Reform((), frozenset()), "stopped by a person"),
        (Faulty("a", 1, "it eats memory"), "it eats memory"),
    ],
    ids=["stop", "drain", "restart", "end", "reform", "fault"],
)
def test_an_end_in_order_says_who_asked_for_it(end: SupervisionEvent, asked: str) -> None:
    told = up()
    assert told.of("a", end) == [("READY", "STOPPING", asked)]
    assert told.reason() == asked


@pytest.mark.parametrize(
    ("code", "told_more"),
    [(0, ""), (-15, ""), (-9, "; killed by SIGKILL"), (15, "; exited with status 15")],
)
def test_how_it_ended_is_told_of_one_that_did_not_obey(code: int, told_more: str) -> None:
    told = up()
    told.of("a", Stop(("a",)))
    assert told.of("a", Exited("a", 1, code)) == [
        ("STOPPING", "STOPPED", f"stopped by a person{told_more}")
    ]


def test_an_actor_that_is_already_there_no_more_is_stopped_without_further_words() -> None:
    for end, why in ((Stop(("a",)), "stopped by a person"), (StopAll(), "the fleet stops")):
        told = up()
        told.of("a", Exited("a", 1, -9), Exited("a", 2, -9))
        assert told.of("a", end) == [("BACKOFF", "STOPPED", why)]


@pytest.mark.parametrize(
    ("silent", "why"),
    [
        (lambda t: t.of("a", Start()), "not ready within 3 s"),
        (lambda t: t.of("a", Start(), ActorReady("a", 1)), "hung: no progress for 2 s"),
        (lambda t: t.of("a", Start(), ActorReady("a", 1, 2.5)), "hung: no progress for 2.5 s"),
    ],
    ids=["never-ready", "hung", "hung-by-its-own-measure"],
)
def test_a_silence_that_is_too_long_says_how_long_and_counts_as_the_failure(
    silent: Callable[[Told], object], why: str
) -> None:
    told = Told()
    silent(told)
    found = told.of("a", *[ClockTick()] * 20, after_s=0.25)
    assert [(new, reason) for _, new, reason in found] == [("STOPPING", why)]
    assert [reason for _, _, reason in told.of("a", Exited("a", 1, -9))] == [why, why]


def test_a_drain_that_does_not_finish_becomes_a_stop_and_that_a_kill() -> None:
    told = up()
    told.of("a", Stop(("a",), drain=True))
    told.of("a", *[ClockTick()] * 4, after_s=1)
    assert told.reason() == "did not finish draining"
    _, effects = step(told.fleet, ClockTick(), told.now_s + 1.0)
    assert effects == [Kill("a", 1)]
    assert told.of("a", Exited("a", 1, -9)) == [
        ("STOPPING", "STOPPED", "did not finish draining; killed by SIGKILL")
    ]


def test_a_hastened_end_says_killed_and_keeps_a_fault_that_was_known() -> None:
    told = up()
    assert told.of("a", StopAll(hasten=True)) == [("READY", "STOPPING", "killed")]
    assert told.fleet.hastened is True
    told = up()
    told.of("a", Faulty("a", 1, "it eats memory"), StopAll(hasten=True))
    assert told.of("a", Exited("a", 1, -9)) == [("STOPPING", "STOPPED", "it eats memory")]


def test_a_fault_outlives_the_kill_that_it_needed() -> None:
    told = up()
    told.of("a", Faulty("a", 1, "it eats memory"), *[ClockTick()] * 2, after_s=0.6)
    assert [r for *_, r in told.of("a", Exited("a", 1, -9))] == ["it eats memory"] * 2


def test_those_that_follow_a_leader_of_their_group_say_so() -> None:
    told = up(Member("a", RULES, group="cell"), Member("b", RULES, group="cell"))
    told.of("b", ActorReady("b", 1))
    assert told.of("b", Exited("a", 1, -9)) == [("READY", "STOPPING", "restarts with a")]
    assert told.of("a", Exited("b", 1, 0)) == [("WAITING", "STARTING", "killed by SIGKILL")]
    assert told.of("b", ActorReady("a", 2)) == [("WAITING", "STARTING", "restarts with a")]


@pytest.mark.parametrize("end", [Stop(("a",)), StopAll()], ids=["stop", "end"])
def test_a_stop_takes_back_a_restart_that_is_under_way(end: SupervisionEvent) -> None:
    """Also for a start that comes after it: that is a new wish."""
    told = up()
    told.of("a", Restart(("a",)), end)
    assert not told.fleet.actors["a"].relaunch
    fleet, effects = step(told.fleet, Exited("a", 1, 0), told.now_s)
    assert fleet.actors["a"].state is ActorState.STOPPED
    assert not any(isinstance(effect, Spawn) for effect in effects)


def test_a_person_s_restart_forgives_what_was_before() -> None:
    told = up()
    told.of("a", Exited("a", 1, -9), ActorReady("a", 2), Restart(("a",)))
    actor = told.fleet.actors["a"]
    assert (actor.failures, actor.restarted_at_s, actor.restarts) == (0, (), 1)


def test_a_deadline_moves_by_as_long_as_the_supervisor_stood_still() -> None:
    told = up()
    told.of("a", Stop(("a",), drain=True))
    assert told.fleet.actors["a"].deadline_s == 4.0
    told.of("a", ClockTick(), after_s=50.0)
    actor = told.fleet.actors["a"]
    assert (actor.deadline_s, actor.progressed_at_s) == (54.0, 50.0)


def test_a_failure_leaves_the_window_after_exactly_its_length() -> None:
    told = up()
    for incarnation in (1, 2, 3):
        told.now_s += 10.0
        told.of("a", Exited("a", incarnation, -9), ActorReady("a", incarnation + 1))
    assert told.fleet.actors["a"].state is ActorState.READY, "20 s before is no longer within 20 s"


def test_a_fault_is_told_of_its_own_incarnation_only() -> None:
    told = up()
    told.of("a", Faulty("a", 1, "it eats memory"), Exited("a", 1, -9), ActorReady("a", 2))
    assert [r for *_, r in told.of("a", Exited("a", 2, -9))] == ["killed by SIGKILL"]


def test_a_restart_after_a_stop_wins_and_after_the_end_of_all_does_nothing() -> None:
    told = up()
    told.of("a", Stop(("a",)), Restart(("a",)))
    told.of("a", Exited("a", 1, 0))
    assert told.fleet.actors["a"].state is ActorState.STARTING
    told = up()
    told.of("a", StopAll(), Restart(("a",)))
    told.of("a", Exited("a", 1, 0))
    assert told.fleet.actors["a"].state is ActorState.STOPPED and told.fleet.gone


def test_one_that_waits_for_its_time_holds_up_none_after_it() -> None:
    told = Told(Member("a", RULES), Member("b", RULES), Member("c", RULES))
    told.of("a", Start(), Stop(("a",)), Exited("a", 1, 0))
    told.of("b", ActorReady("b", 1), Exited("b", 1, -9), Exited("b", 2, -9))
    told.of("c", ActorReady("c", 1))
    assert told.of("b", ClockTick(), after_s=0.5)[-1][1] == "STARTING"
    told.of("c", *[ClockTick()] * 3, after_s=0.5)
    assert told.fleet.actors["c"].fault == "hung: no progress for 2 s"


@pytest.mark.parametrize(("jitter", "part"), [(0.0, 0.5), (0.5, 0.75), (0.9, 0.95)])
def test_half_of_a_back_off_is_jitter(jitter: float, part: float) -> None:
    told = up()
    told.of("a", Exited("a", 1, -9))
    fleet, _ = step(told.fleet, Exited("a", 2, -9), 0.0, jitter)
    assert fleet.actors["a"].deadline_s == pytest.approx(RULES.backoff_s * part)


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (None, None, "could not be started"),
        (None, "no such file", "no such file"),
        (0, None, "exited with status 0"),
        (1, "no camera", "exited with status 1: no camera"),
        (-9, None, "killed by SIGKILL"),
        (-9, "in the middle", "killed by SIGKILL: in the middle"),
        (-250, None, "killed by signal 250"),
    ],
)
def test_how_a_process_ended_is_said_in_words(
    code: int | None, error: str | None, text: str
) -> None:
    assert exit_text(code, error) == text


@pytest.mark.parametrize(
    ("restart", "code", "state", "why"),
    [
        ("always", 0, ActorState.STARTING, "exited with status 0"),
        ("always", 1, ActorState.STARTING, "exited with status 1"),
        ("on_failure", 0, ActorState.STOPPED, "finished"),
        ("on_failure", 1, ActorState.STARTING, "exited with status 1"),
        ("never", 0, ActorState.STOPPED, "finished"),
        ("never", 1, ActorState.FAILED, "exited with status 1; it is not to be restarted"),
        ("always", 3, ActorState.FAILED, "refused its configuration: exited with status 3"),
        ("never", 4, ActorState.FAILED, "is dead until a person restarts it: exited with status 4"),
    ],
)
def test_whether_an_end_by_itself_is_followed_by_another_start_is_the_rules_to_say(
    restart: str, code: int, state: ActorState, why: str
) -> None:
    told = up(Member("a", replace(RULES, restart=restart)))
    found = told.of("a", Exited("a", 1, code))
    assert (told.fleet.actors["a"].state, found[-1][2]) == (state, why)
    assert told.fleet.actors["a"].wanted is (state is not ActorState.STOPPED)


def test_a_fault_of_one_that_ends_well_is_a_failure_all_the_same() -> None:
    told = up(Member("a", replace(RULES, restart="on_failure")))
    told.of("a", Faulty("a", 1, "it eats memory"))
    found = told.of("a", Exited("a", 1, 0))
    assert found[-1] == ("WAITING", "STARTING", "it eats memory")


def test_one_that_waits_for_others_holds_up_none_after_it() -> None:
    told = Told(Member("a", RULES), Member("b", RULES, after=("a",)), Member("c", RULES))
    told.of("a", Start())
    states = {name: str(actor.state) for name, actor in told.fleet.actors.items()}
    assert states == {"a": "STARTING", "b": "WAITING", "c": "STARTING"}


def test_since_when_an_actor_is_in_its_state_is_kept() -> None:
    told = Told()
    told.now_s = 7.0
    told.of("a", Start())
    assert told.fleet.actors["a"].since_s == 7.0
    told.of("a", ClockTick(), ActorReady("a", 1), ClockTick(), after_s=0.5)
    assert told.fleet.actors["a"].since_s == 8.0

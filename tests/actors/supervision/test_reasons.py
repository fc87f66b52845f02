"""The reason of each transition of the supervision state machine, which status and log show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.actors.runtime.spec import Member
from holdfast.actors.supervision.restart_policy import exit_text
from holdfast.actors.supervision.state_machine import step
from holdfast.actors.supervision.supervised import (
    ActorReady,
    ClockTick,
    Exited,
    Faulty,
    Kill,
    Reform,
    Restart,
    Start,
    Stop,
    StopAll,
    SupervisionEvent,
)
from holdfast.tests.actors.supervision.transcript import RULES, Transcript, up


def test_an_actor_has_a_reason_at_each_change_of_state() -> None:
    """From start over crash and back-off to stop, each change carries its exact reason."""
    log = Transcript()
    assert log.of("a", Start()) == [
        ("STOPPED", "WAITING", "starting"),
        ("WAITING", "STARTING", ""),
    ]
    assert log.of("a", ActorReady("a", 1)) == [("STARTING", "READY", "")]
    assert log.of("a", Exited("a", 1, -9)) == [
        ("READY", "WAITING", "killed by SIGKILL"),
        ("WAITING", "STARTING", "killed by SIGKILL"),
    ]
    assert log.of("a", Exited("a", 2, 1, "no camera")) == [
        ("STARTING", "BACKOFF", "exited with status 1: no camera")
    ]
    assert log.of("a", ClockTick(), after_s=0.5) == [
        ("BACKOFF", "WAITING", "exited with status 1: no camera"),
        ("WAITING", "STARTING", "exited with status 1: no camera"),
    ]
    log.of("a", ActorReady("a", 3))
    assert log.of("a", Stop(("a",))) == [("READY", "STOPPING", "stopped by a person")]
    assert log.of("a", Exited("a", 3, 0)) == [("STOPPING", "STOPPED", "stopped by a person")]
    assert log.of("a", Start()) == [
        ("STOPPED", "WAITING", "starting"),
        ("WAITING", "STARTING", "started by a person"),
    ]


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
def test_an_orderly_end_has_the_request_as_its_reason(end: SupervisionEvent, asked: str) -> None:
    """STOPPING names the request: a person's, the fleet's, or a fault."""
    log = up()
    assert log.of("a", end) == [("READY", "STOPPING", asked)]
    assert log.reason() == asked


@pytest.mark.parametrize(
    ("code", "how_it_ended"),
    [(0, ""), (-15, ""), (-9, "; killed by SIGKILL"), (15, "; exited with status 15")],
)
def test_a_stopped_actor_shows_how_it_ended_unless_as_asked(code: int, how_it_ended: str) -> None:
    """Status 0 and SIGTERM add nothing to the request; any other exit is appended."""
    log = up()
    log.of("a", Stop(("a",)))
    assert log.of("a", Exited("a", 1, code)) == [
        ("STOPPING", "STOPPED", f"stopped by a person{how_it_ended}")
    ]


def test_an_actor_without_a_process_is_stopped_at_once() -> None:
    """A stop during BACKOFF leads straight to STOPPED."""
    for end, why in ((Stop(("a",)), "stopped by a person"), (StopAll(), "the fleet stops")):
        log = up()
        log.of("a", Exited("a", 1, -9), Exited("a", 2, -9))
        assert log.of("a", end) == [("BACKOFF", "STOPPED", why)]


def test_a_hung_actor_has_the_hint_of_its_kind_in_its_reason() -> None:
    """The hint follows the duration."""
    log = up(Member("a", RULES, hang_hint="raise its limit"))
    log.of("a", ClockTick(), ClockTick(), ClockTick(), after_s=0.8)
    assert log.fleet.actors["a"].fault == "hung: no progress for 2 s; raise its limit"


@pytest.mark.parametrize(
    ("silent", "why"),
    [
        (lambda t: t.of("a", Start()), "not ready within 3 s"),
        (lambda t: t.of("a", Start(), ActorReady("a", 1)), "hung: no progress for 2 s"),
        (lambda t: t.of("a", Start(), ActorReady("a", 1, 2.5)), "hung: no progress for 2.5 s"),
    ],
    ids=["never-ready", "hung", "hung-by-its-own-measure"],
)
def test_a_timeout_is_the_reason_and_counts_as_the_failure(
    silent: Callable[[Transcript], object], why: str
) -> None:
    """The reason names the exceeded start or hang timeout and outlasts the kill."""
    log = Transcript()
    silent(log)
    found = log.of("a", *[ClockTick()] * 20, after_s=0.25)
    assert [(new, reason) for _, new, reason in found] == [("STOPPING", why)]
    assert [reason for _, _, reason in log.of("a", Exited("a", 1, -9))] == [why, why]


def test_a_drain_that_does_not_finish_becomes_a_stop_and_then_a_kill() -> None:
    """Each timeout leads to the next measure, and the reasons accumulate."""
    log = up()
    log.of("a", Stop(("a",), drain=True))
    log.of("a", *[ClockTick()] * 4, after_s=1)
    assert log.reason() == "did not finish draining"
    _, effects = step(log.fleet, ClockTick(), log.now_s + 1.0)
    assert effects == [Kill("a", 1)]
    assert log.of("a", Exited("a", 1, -9)) == [
        ("STOPPING", "STOPPED", "did not finish draining; killed by SIGKILL")
    ]


def test_a_hastened_end_has_the_reason_killed_or_an_earlier_fault() -> None:
    """A fault that was known before the kill stays the reason."""
    log = up()
    assert log.of("a", StopAll(hasten=True)) == [("READY", "STOPPING", "killed")]
    assert log.fleet.hastened is True
    log = up()
    log.of("a", Faulty("a", 1, "it eats memory"), StopAll(hasten=True))
    assert log.of("a", Exited("a", 1, -9)) == [("STOPPING", "STOPPED", "it eats memory")]


def test_a_fault_stays_the_reason_after_the_kill_that_it_needed() -> None:
    """An actor killed for a fault restarts with the fault as its reason."""
    log = up()
    log.of("a", Faulty("a", 1, "it eats memory"), *[ClockTick()] * 2, after_s=0.6)
    assert [r for *_, r in log.of("a", Exited("a", 1, -9))] == ["it eats memory"] * 2


def test_a_follower_in_a_group_names_the_leader_with_which_it_restarts() -> None:
    """The reason of a follower's stop and start is the leader, not a failure of its own."""
    log = up(Member("a", RULES, group="cell"), Member("b", RULES, group="cell"))
    log.of("b", ActorReady("b", 1))
    assert log.of("b", Exited("a", 1, -9)) == [("READY", "STOPPING", "restarts with a")]
    assert log.of("a", Exited("b", 1, 0)) == [("WAITING", "STARTING", "killed by SIGKILL")]
    assert log.of("b", ActorReady("a", 2)) == [("WAITING", "STARTING", "restarts with a")]


def test_a_deadline_moves_by_as_long_as_the_supervisor_stood_still() -> None:
    """Deadline and last progress shift by exactly the length of the standstill."""
    log = up()
    log.of("a", Stop(("a",), drain=True))
    assert log.fleet.actors["a"].deadline_s == 4.0
    log.of("a", ClockTick(), after_s=50.0)
    actor = log.fleet.actors["a"]
    assert (actor.deadline_s, actor.progressed_at_s) == (54.0, 50.0)


def test_a_fault_belongs_to_its_own_incarnation_only() -> None:
    """The next incarnation's exit has its own reason."""
    log = up()
    log.of("a", Faulty("a", 1, "it eats memory"), Exited("a", 1, -9), ActorReady("a", 2))
    assert [r for *_, r in log.of("a", Exited("a", 2, -9))] == ["killed by SIGKILL"]


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
def test_an_exit_status_is_described_in_words(
    code: int | None, error: str | None, text: str
) -> None:
    """`exit_text` names status, signal and the actor's own reason."""
    assert exit_text(code, error) == text


def test_the_instant_of_the_last_change_of_state_is_kept() -> None:
    """`since_s` changes with the state only."""
    log = Transcript()
    log.now_s = 7.0
    log.of("a", Start())
    assert log.fleet.actors["a"].since_s == 7.0
    log.of("a", ClockTick(), ActorReady("a", 1), ClockTick(), after_s=0.5)
    assert log.fleet.actors["a"].since_s == 8.0


def test_a_hang_names_the_call_that_has_not_returned() -> None:
    """The actor's board notes which call of foreign code it runs."""
    log = up()
    found = log.of("a", *[ClockTick(calls={"a": "read_state"})] * 9, after_s=0.25)
    assert found == [
        ("READY", "STOPPING", "hung: no progress for 2 s: read_state has not returned")
    ]

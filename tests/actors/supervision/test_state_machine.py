"""The rules of the supervision state machine, one by one.

That they hold in any order of events is checked by tests/properties/test_supervision_machine.py.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.actors.runtime.spec import Member, Rules
from holdfast.actors.supervision.state_machine import FIRST_STARTS_AT_ONCE, step
from holdfast.actors.supervision.supervised import (
    ActorReady,
    ActorState,
    AskToStop,
    Changed,
    ClockTick,
    Exited,
    Kill,
    Restart,
    Spawn,
    Start,
    Stop,
    StopAll,
    SupervisionEffect,
    SupervisionEvent,
    fleet_of,
)


class Fake:
    """A fleet with a clock, and all effects but changes of state."""

    def __init__(self, *members: Member) -> None:
        self.now_s = 100.0
        self.fleet = fleet_of(members, self.now_s)
        self.effects: list[SupervisionEffect] = []

    def feed(self, event: SupervisionEvent, jitter: float = 1.0) -> list[SupervisionEffect]:
        self.fleet, effects = step(self.fleet, event, self.now_s, jitter)
        acts: list[SupervisionEffect] = [e for e in effects if not isinstance(e, Changed)]
        self.effects += acts
        return acts

    def wait(
        self, seconds: float, progress: dict[str, int] | None = None
    ) -> list[SupervisionEffect]:
        done: list[SupervisionEffect] = []
        for _ in range(round(seconds / 0.25)):
            self.now_s += 0.25
            done += self.feed(ClockTick(progress or {}))
        return done

    def up(self, *names: str) -> None:
        self.feed(Start())
        for name in names:
            self.feed(ActorReady(name, 1))

    def state(self, name: str = "a") -> ActorState:
        return self.fleet.actors[name].state

    def crash(self, name: str = "a", code: int = -9) -> list[SupervisionEffect]:
        return self.feed(Exited(name, self.fleet.actors[name].incarnation, code))


def test_an_actor_restarts_in_the_step_of_its_first_crash() -> None:
    """The exit event itself yields the next Spawn."""
    fake = Fake(Member("a"))
    fake.up("a")
    assert fake.crash() == [Spawn("a", 2)]
    assert fake.state() is ActorState.STARTING
    assert fake.fleet.actors["a"].reason == "killed by SIGKILL"


def test_a_crash_loop_doubles_its_back_off_and_ends_in_failed() -> None:
    """Delays double up to `max_backoff_s`; after FAILED nothing starts by itself."""
    fake = Fake(Member("a", Rules(max_restarts=5, window_s=1000, backoff_s=1, max_backoff_s=3)))
    fake.up()
    delays = []
    while (
        fake.crash() == [] and fake.state() is ActorState.BACKOFF
    ) or fake.state() is ActorState.STARTING:
        if fake.state() is ActorState.BACKOFF:
            delays.append(fake.fleet.actors["a"].deadline_s - fake.now_s)
            fake.wait(delays[-1] + 0.25)
    assert delays == [1, 2, 3, 3]
    assert fake.state() is ActorState.FAILED
    assert "actorctl start a" in fake.fleet.actors["a"].reason
    assert fake.wait(100) == []


def test_an_actor_that_was_ready_for_settle_s_has_no_failures() -> None:
    """Its next crash counts as the first one."""
    fake = Fake(Member("a", Rules(settle_s=10, hang_timeout_s=1000)))
    fake.up("a")
    fake.crash()
    fake.feed(ActorReady("a", 2))
    fake.wait(10)
    assert fake.crash() == [Spawn("a", 3)], "as if it were the first"


def test_restarts_outside_the_window_do_not_count() -> None:
    """Only restarts within `window_s` count towards `max_restarts`."""
    fake = Fake(Member("a", Rules(max_restarts=1, window_s=5, settle_s=1, hang_timeout_s=1000)))
    fake.up("a")
    for incarnation in (2, 3, 4):
        fake.wait(6)
        assert fake.crash() == [Spawn("a", incarnation)]
        fake.feed(ActorReady("a", incarnation))
    fake.wait(2)
    fake.crash()
    assert fake.state() is ActorState.FAILED


@given(
    lives=st.lists(
        st.tuples(st.floats(0, 50), st.none() | st.floats(0, 9.5)), min_size=30, max_size=30
    ),
    most=st.integers(0, 12),
    window_s=st.floats(1, 300),
)
def test_a_crash_loop_ends_in_failed_however_long_each_attempt_takes(
    lives: list[tuple[float, float | None]], most: int, window_s: float
) -> None:
    """Without an uptime of `settle_s`, at most `max_restarts` + 1 failures happen."""
    rules = Rules(max_restarts=most, window_s=window_s, settle_s=10, start_timeout_s=100)
    fake = Fake(Member("a", replace(rules, hang_timeout_s=1000)))
    fake.up()
    failures = 0
    for start_s, up_s in lives:
        while fake.state() is ActorState.BACKOFF:
            fake.wait(0.25)
        if fake.state() is ActorState.FAILED:
            break
        fake.now_s += min(start_s, 0.9)  # in steps below what counts as a standstill
        for _ in range(int(start_s)):
            fake.wait(1)
        if up_s is not None:
            fake.feed(ActorReady("a", fake.fleet.actors["a"].incarnation))
            fake.wait(up_s // 0.25 * 0.25)
        fake.crash()
        failures += 1
    assert fake.state() is ActorState.FAILED
    assert failures <= most + 1
    assert "actorctl start a" in fake.fleet.actors["a"].reason


@given(lives=st.lists(st.floats(31, 80_000), min_size=20, max_size=40))
def test_single_kills_over_a_day_never_end_in_failed(lives: list[float]) -> None:
    """Kills at least 31 s apart are each answered by a restart."""
    fake = Fake(Member("a", Rules(hang_timeout_s=1e9)))
    fake.up("a")
    for incarnation, up_s in enumerate(lives, 2):
        fake.now_s += 0.9
        fake.feed(ClockTick({}))
        fake.fleet = replace(fake.fleet, now_s=fake.now_s + up_s)  # a day in one step
        fake.now_s += up_s
        assert fake.crash() == [Spawn("a", incarnation)]
        fake.feed(ActorReady("a", incarnation))


def test_an_actor_extends_its_hang_timeout_for_one_incarnation() -> None:
    """The larger of the reported and the configured timeout counts, until the next start."""
    fake = Fake(Member("a", Rules(hang_timeout_s=2)))
    fake.feed(Start())
    fake.feed(ActorReady("a", 1, hang_timeout_s=6))
    assert fake.wait(5.75) == []
    assert fake.wait(0.25) == [Kill("a", 1)]
    fake.crash()
    assert fake.fleet.actors["a"].reason == "hung: no progress for 6 s"
    fake.feed(ActorReady("a", 2, hang_timeout_s=0.5))
    assert fake.wait(1.75) == []
    assert fake.wait(0.25) == [Kill("a", 2)]


def test_an_exit_with_3_or_4_is_final_until_a_person_starts_the_actor() -> None:
    """Refused and dead actors are FAILED at once; Start spawns them again."""
    for code in (3, 4):
        fake = Fake(Member("a"))
        fake.up("a")
        assert fake.crash(code=code) == []
        assert fake.state() is ActorState.FAILED
        assert fake.feed(Start(("a",))) == [Spawn("a", 2, forgiven=True)]


def test_a_start_or_restart_by_a_person_forgives_earlier_failures() -> None:
    """Its Spawn is `forgiven`, that of a restart after a failure is not, also when settled."""
    fake = Fake(Member("a", Rules(settle_s=10, hang_timeout_s=1000)))
    fake.up("a")
    assert fake.crash() == [Spawn("a", 2, forgiven=False)]
    fake.feed(ActorReady("a", 2))
    fake.wait(10)
    assert fake.crash() == [Spawn("a", 3, forgiven=False)]
    fake.feed(ActorReady("a", 3))
    fake.feed(Restart(("a",)))
    assert fake.crash(code=0) == [Spawn("a", 4, forgiven=True)]
    fake.feed(Stop(("a",)))
    fake.crash(code=0)
    assert fake.feed(Start(("a",))) == [Spawn("a", 5, forgiven=True)]
    assert fake.crash() == [Spawn("a", 6, forgiven=False)]


def test_a_stop_wins_over_a_pending_restart() -> None:
    """A stop during BACKOFF cancels the restart."""
    fake = Fake(Member("a"))
    fake.up()
    fake.crash(), fake.crash()
    assert fake.state() is ActorState.BACKOFF
    assert fake.feed(Stop(("a",))) == []
    assert fake.wait(100) == []
    assert fake.state() is ActorState.STOPPED


def test_a_stop_is_asked_for_and_then_forced() -> None:
    """Kill follows after `stop_timeout_s`, again every second, and is no failure."""
    fake = Fake(Member("a", Rules(stop_timeout_s=2)))
    fake.up("a")
    assert fake.feed(Stop(("a",))) == [AskToStop("a", 1)]
    assert fake.wait(1.75) == []
    assert fake.wait(0.25) == [Kill("a", 1)]
    assert fake.wait(1) == [Kill("a", 1)], "again, because it is still there"
    fake.crash()
    assert fake.state() is ActorState.STOPPED
    assert fake.fleet.actors["a"].failures == 0


def test_an_actor_that_is_not_ready_is_killed_sooner_after_a_stop() -> None:
    """A STARTING actor has half a second, whatever its `stop_timeout_s`."""
    fake = Fake(Member("a", Rules(stop_timeout_s=60)))
    fake.up()
    assert fake.feed(Stop(("a",))) == [AskToStop("a", 1)]
    assert fake.wait(0.5) == [Kill("a", 1)]


def test_a_start_during_a_stop_waits_for_the_end_of_the_old_incarnation() -> None:
    """The spawn comes with the exit, never before."""
    fake = Fake(Member("a"))
    fake.up("a")
    fake.feed(Stop(("a",)))
    assert fake.feed(Start(("a",))) == []
    assert fake.crash(code=0) == [Spawn("a", 2, forgiven=True)]


def test_a_restart_by_a_person_is_no_failure() -> None:
    """The actor restarts and `failures` stays 0, however its process ended."""
    fake = Fake(Member("a", Rules(max_restarts=0)))
    fake.up("a")
    assert fake.feed(Restart(("a",))) == [AskToStop("a", 1)]
    assert fake.crash(code=-9) == [Spawn("a", 2, forgiven=True)]
    assert fake.fleet.actors["a"].restarts == 1
    assert fake.fleet.actors["a"].failures == 0


def test_an_actor_that_is_not_ready_in_time_is_killed_and_has_failed() -> None:
    """Kill comes at `start_timeout_s`, with that as the reason."""
    fake = Fake(Member("a", Rules(start_timeout_s=3)))
    fake.up()
    assert fake.wait(2.75) == []
    assert fake.wait(0.25) == [Kill("a", 1)]
    fake.crash()
    assert fake.fleet.actors["a"].reason == "not ready within 3 s"
    assert fake.fleet.actors["a"].failures == 1


def test_a_hung_actor_is_killed_and_one_with_progress_is_not() -> None:
    """Kill comes `hang_timeout_s` after the last change of the count."""
    fake = Fake(Member("a", Rules(hang_timeout_s=2)))
    fake.up("a")
    for count in range(20):
        assert fake.wait(1.5, {"a": count}) == []
    assert fake.wait(1, {"a": 19}) == [Kill("a", 1)], "2 s after the last change"
    fake.crash()
    assert fake.fleet.actors["a"].reason == "hung: no progress for 2 s"


def test_silence_while_the_supervisor_stood_still_is_no_hang() -> None:
    """A late tick extends the deadline; silence after it counts."""
    fake = Fake(Member("a", Rules(hang_timeout_s=2)))
    fake.up("a")
    fake.now_s += 60
    assert fake.feed(ClockTick({})) == []
    assert fake.wait(2) == [Kill("a", 1)], "but silence after it is"


ORDERED = (Member("broker"), Member("driver"), Member("control", after=("broker", "driver")))


def test_actors_start_when_those_before_them_are_ready() -> None:
    """The last `after` that becomes ready spawns the actor."""
    fake = Fake(*ORDERED)
    assert fake.feed(Start()) == [Spawn("broker", 1), Spawn("driver", 1)]
    assert fake.feed(ActorReady("driver", 1)) == []
    assert fake.feed(ActorReady("broker", 1)) == [Spawn("control", 1)]


def test_an_actor_that_is_given_up_delays_no_other() -> None:
    """FAILED counts as settled for those that come after it."""
    fake = Fake(*ORDERED)
    fake.feed(Start())
    fake.feed(ActorReady("driver", 1))
    assert fake.crash("broker", 3) == [Spawn("control", 1)]


def test_the_fleet_stops_in_reverse_order_and_is_gone_with_its_last_actor() -> None:
    """An actor is asked to stop only when none that comes after it is alive."""
    fake = Fake(*ORDERED)
    fake.up("broker", "driver", "control")
    assert fake.feed(StopAll()) == [AskToStop("control", 1)]
    assert fake.crash("control", 0) == [AskToStop("broker", 1), AskToStop("driver", 1)]
    fake.crash("broker", 0)
    assert not fake.fleet.gone
    fake.crash("driver", 0)
    assert fake.fleet.gone


def test_a_hastened_end_kills_every_actor_at_once() -> None:
    """A second StopAll kills all live actors in one step."""
    fake = Fake(*ORDERED)
    fake.up("broker", "driver", "control")
    fake.feed(StopAll())
    kills = fake.feed(StopAll(hasten=True))
    assert kills == [Kill("broker", 1), Kill("driver", 1), Kill("control", 1)]


def test_a_failure_in_a_rest_for_one_group_restarts_the_later_members_only() -> None:
    """Later members stop first and restart after it; earlier ones and others stay READY."""
    fake = Fake(*(Member(name, group="g") for name in "abc"), Member("d"))
    fake.up(*"abcd")
    assert fake.crash("b") == [AskToStop("c", 1)], "b waits until c is gone"
    assert fake.crash("c", 0) == [Spawn("b", 2)], "c waits until b is ready"
    assert fake.feed(ActorReady("b", 2)) == [Spawn("c", 2, forgiven=True)]
    assert fake.fleet.actors["c"].failures == 0
    assert fake.state("a") is fake.state("d") is ActorState.READY


def test_a_drain_has_its_own_timeout_and_then_becomes_a_stop() -> None:
    """`drain_timeout_s`, then a stop, then `stop_timeout_s` and a kill."""
    fake = Fake(Member("a", Rules(drain_timeout_s=10, stop_timeout_s=2)))
    fake.up("a")
    assert fake.feed(Stop(("a",), drain=True)) == [AskToStop("a", 1, drain=True)]
    assert fake.wait(9.75) == []
    assert fake.wait(0.25) == [AskToStop("a", 1)]
    assert fake.wait(2) == [Kill("a", 1)]
    fake.crash()
    assert fake.state() is ActorState.STOPPED


def test_a_large_fleet_starts_some_at_a_time_and_restarts_are_not_limited() -> None:
    """At most FIRST_STARTS_AT_ONCE first starts are under way; a restart is immediate."""
    names = [f"a{i}" for i in range(40)]
    fake = Fake(*(Member(name) for name in names))
    started = fake.feed(Start())
    assert started == [Spawn(name, 1) for name in names[:FIRST_STARTS_AT_ONCE]]
    assert fake.crash("a0") == [Spawn("a0", 2)]
    waiting = names[FIRST_STARTS_AT_ONCE:]
    for name in names[1:FIRST_STARTS_AT_ONCE]:
        assert fake.feed(ActorReady(name, 1)) == [Spawn(waiting.pop(0), 1)]
    assert fake.feed(Stop((waiting[0],))) == []
    assert fake.feed(ActorReady("a0", 2)) == [Spawn(waiting[1], 1)], "one that is stopped has left"

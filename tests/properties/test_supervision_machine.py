"""The supervision state machine against model processes that behave arbitrarily, with a fake
clock."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from holdfast.actors.runtime.spec import Member, Rules
from holdfast.actors.supervision.restart_policy import in_question
from holdfast.actors.supervision.state_machine import step
from holdfast.actors.supervision.supervised import (
    ActorReady,
    ActorState,
    AskToStop,
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
    max_restarts=4,
    window_s=20,
    backoff_s=0.5,
    max_backoff_s=4,
    settle_s=5,
)
MEMBERS = (
    Member("broker", RULES),
    Member("replica", RULES, after=("broker",)),
    Member("driver", RULES, group="cell"),
    Member("sensor", RULES, after=("driver",), group="cell"),
    Member("control", RULES, after=("driver", "broker"), group="cell"),
)
NAMES = [member.name for member in MEMBERS]
TURN_S = 0.25


@dataclass
class Process:
    """The model of one incarnation's process."""

    incarnation: int
    started_s: float
    stubborn: bool
    """It ignores being asked to stop."""
    ready: bool = False
    slow_s: float = 0.0
    """The hang timeout that it reported."""
    asked_s: float | None = None
    killed: bool = False
    progressed_s: float = 0.0
    count: int = 0
    starved_s: float = 0.0
    """Since it was started or made progress, once it was in question."""


class Supervision(RuleBasedStateMachine):
    """Every effect is carried out on model processes and checked at the moment it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.fleet = fleet_of(MEMBERS, self.now_s)
        self.listed = set(NAMES)
        """The actors of the present fleet.yaml."""
        self.processes: dict[str, Process] = {}
        self.stopped = set(NAMES)
        """The actors that a person stopped, known independently of the state machine."""
        self.over = False
        self.counts = dict.fromkeys(NAMES, 0)
        self.stubborn = False
        self.starved_share = 0.0
        """How much of the time the processes in question wait for a processor."""

    # The shell.

    def feed(self, event: SupervisionEvent, jitter: float = 0.5) -> None:
        before = {name: actor.failures for name, actor in self.fleet.actors.items()}
        self.fleet, effects = step(self.fleet, event, self.now_s, jitter)
        for effect in effects:
            match effect:
                case Spawn(name, incarnation):
                    assert name not in self.processes, f"two incarnations of {name} alive"
                    assert name not in self.stopped, f"{name} started although stopped"
                    assert not self.over, f"{name} started although the fleet stops"
                    self.processes[name] = Process(incarnation, self.now_s, self.stubborn)
                case AskToStop(name, incarnation):
                    assert self.processes[name].incarnation == incarnation
                    self.processes[name].asked_s = self.now_s
                    if isinstance(event, StopAll | Exited) and not self.fleet.hastened:
                        self.assert_not_needed(name)
                case Kill(name, incarnation):
                    assert self.processes[name].incarnation == incarnation
                    self.processes[name].killed = True
                case Changed(_, old, new, _):
                    assert old is not new
        if isinstance(event, Stop | StopAll | Restart | Reform):
            for name, actor in self.fleet.actors.items():
                assert actor.failures <= before.get(name, 0), "what a person asks for is no failure"

    def assert_not_needed(self, name: str) -> None:
        for member in MEMBERS:
            if name in member.after:
                assert member.name not in self.processes, f"{name} stopped before {member.name}"

    def turn(self) -> None:
        """One turn of the shell: a quarter of a second, the boards, the tick."""
        starved_s: dict[str, float] = {}
        for name, process in self.processes.items():
            actor = self.fleet.actors[name]
            if in_question(actor, RULES, self.now_s):
                starved_s[name] = self.starved_share * TURN_S
                process.starved_s += starved_s[name]
        self.now_s += TURN_S
        self.feed(ClockTick(dict(self.counts), starved_s=starved_s))
        for name, process in self.processes.items():
            silent = self.now_s - max(process.progressed_s, process.started_s) - process.starved_s
            actor = self.fleet.actors[name]
            if process.ready and silent >= max(RULES.hang_timeout_s, process.slow_s) + TURN_S:
                assert process.killed or process.asked_s, f"{name} hangs and is not ended"
            if not process.ready and silent >= RULES.start_timeout_s + TURN_S:
                assert process.killed or process.asked_s, (
                    f"{name} never becomes ready and is not ended"
                )
            if process.asked_s is not None and not actor.draining:
                late = self.now_s - process.asked_s - max(RULES.stop_timeout_s, TURN_S)
                assert process.killed or late < TURN_S, f"{name} ignores its stop and is not killed"

    def exit(self, name: str, code: int) -> None:
        process = self.processes.pop(name)
        wanted = name not in self.stopped and not self.over
        self.feed(Exited(name, process.incarnation, code))
        if name not in self.listed:
            assert name not in self.fleet.actors, "one that was removed is gone with its process"
        elif not wanted:
            assert self.fleet.actors[name].state in (ActorState.STOPPED, ActorState.FAILED)

    # What happens.

    @initialize()
    def start_all(self) -> None:
        self.stopped.clear()
        self.feed(Start())
        assert set(self.processes) == {"broker", "driver"}

    @rule(turns=st.integers(1, 6))
    def time_passes(self, turns: int) -> None:
        for _ in range(turns):
            self.turn()

    @rule(turns=st.integers(1, 12))
    def time_passes_and_all_behave(self, turns: int) -> None:
        for _ in range(turns):
            self.behave()
            self.turn()

    @rule(share=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    def the_machine_is_busy(self, share: float) -> None:
        self.starved_share = share

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), share=st.sampled_from([0.5, 0.9, 1.0]))
    def an_actor_that_gets_no_processor_is_not_ended(
        self, data: st.DataObject, share: float
    ) -> None:
        """Neither at its start nor later, for as many times its limit as it waits for one."""
        name = data.draw(st.sampled_from(sorted(self.processes)))
        if self.fleet.actors[name].state not in (ActorState.STARTING, ActorState.READY):
            return
        self.behave()
        process = self.processes.get(name)
        if process is None or process.killed:
            return
        self.starved_share = share
        limit_s = max(RULES.hang_timeout_s, process.slow_s)
        for _ in range(int(min(0.8 * limit_s / (1 - share + 0.1), 20) / TURN_S)):
            self.turn()
        fault = self.fleet.actors[name].fault if name in self.fleet.actors else None
        assert "hung" not in (fault or "")

    @rule(stubborn=st.booleans())
    def the_next_ones_ignore_sigterm(self, stubborn: bool) -> None:
        self.stubborn = stubborn

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), code=st.sampled_from([0, 1, -9, -11, 3, 4]))
    def an_actor_exits(self, data: st.DataObject, code: int) -> None:
        self.exit(data.draw(st.sampled_from(sorted(self.processes))), code)

    @precondition(lambda self: self.processes)
    @rule(code=st.sampled_from([1, -9]))
    def all_exit_at_once(self, code: int) -> None:
        for name in sorted(self.processes):
            self.exit(name, code)

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), slow_s=st.sampled_from([0.0, 1.0, 4.0]))
    def an_actor_becomes_ready(self, data: st.DataObject, slow_s: float) -> None:
        self.get_ready(data.draw(st.sampled_from(sorted(self.processes))), slow_s)

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), share=st.floats(0.1, 0.9))
    def a_slow_actor_is_not_hung(self, data: st.DataObject, share: float) -> None:
        """Silence for less than its limit, the rules' or its own, ends no actor."""
        name = data.draw(st.sampled_from(sorted(self.processes)))
        if self.fleet.actors[name].state is not ActorState.READY:
            return
        self.behave()
        if name not in self.processes:
            return
        self.turn()
        limit = max(RULES.hang_timeout_s, self.processes[name].slow_s)
        for _ in range(int(share * limit / TURN_S)):
            self.turn()
        assert name not in self.fleet.actors or "hung" not in (self.fleet.actors[name].fault or "")

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def an_actor_exceeds_its_memory_limit(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.processes)))
        self.feed(Faulty(name, self.processes[name].incarnation, "memory"))
        assert self.fleet.actors[name].state is ActorState.STOPPING

    @rule(kept=st.sets(st.sampled_from(NAMES)), changed=st.sets(st.sampled_from(NAMES)))
    def a_person_changes_the_file(self, kept: set[str], changed: set[str]) -> None:
        members = [m for m in MEMBERS if m.name in kept and kept.issuperset(m.after)]
        listed = {member.name for member in members}
        alive = {name: process.incarnation for name, process in self.processes.items()}
        if not self.over:
            self.stopped |= self.listed - listed
            self.stopped -= listed - self.listed
        if not self.over:
            # An actor that is added again has a new board, even while its old process lives.
            self.counts |= dict.fromkeys(listed - self.listed, 0)
        same = (self.listed & listed) - changed
        before = {name: self.fleet.actors[name] for name in same}
        self.feed(Reform(tuple(members), frozenset(changed)))
        if self.over:
            return
        self.listed = listed
        assert set(self.fleet.actors) == listed | set(self.processes)
        for name in same:
            assert alive.get(name) == getattr(self.processes.get(name), "incarnation", None)
            assert self.fleet.actors[name] == before[name], "it is none of its business"
        for name in listed - same:
            actor = self.fleet.actors[name]
            assert actor.state in (
                ActorState.WAITING,
                ActorState.STARTING,
                ActorState.STOPPING,
                ActorState.STOPPED,
            )

    @rule(name=st.sampled_from(NAMES))
    def an_event_of_a_dead_incarnation_changes_nothing(self, name: str) -> None:
        if name not in self.fleet.actors:
            return
        old = self.fleet.actors[name].incarnation - 1
        before = self.fleet.actors
        for event in (Exited(name, old, 1), ActorReady(name, old), Faulty(name, old, "memory")):
            self.feed(event)
        assert self.fleet.actors == before

    @rule(name=st.sampled_from(NAMES))
    def a_person_starts(self, name: str) -> None:
        if name not in self.listed:
            return
        if not self.over:
            self.stopped.discard(name)
        self.feed(Start((name,)))

    @rule(name=st.sampled_from(NAMES), drain=st.booleans())
    def a_person_stops(self, name: str, drain: bool) -> None:
        if name not in self.listed:
            return
        self.stopped.add(name)
        self.feed(Stop((name,), drain))
        assert self.fleet.actors[name].state in (ActorState.STOPPED, ActorState.STOPPING)

    @rule(name=st.sampled_from(NAMES))
    def a_person_restarts(self, name: str) -> None:
        if name not in self.listed:
            return
        if not self.over:
            self.stopped.discard(name)
        self.feed(Restart((name,)))

    @rule(hasten=st.booleans())
    def a_person_ends_it(self, hasten: bool) -> None:
        self.over = True
        self.feed(StopAll(hasten))
        if hasten:
            assert all(process.killed for process in self.processes.values())

    @rule(pause_s=st.floats(2, 100))
    def the_supervisor_stands_still(self, pause_s: float) -> None:
        """Silence during a standstill of the supervisor is no hang."""
        ready = [n for n, a in self.fleet.actors.items() if a.state is ActorState.READY]
        self.behave()
        self.turn()
        ready = [n for n in ready if self.fleet.actors[n].state is ActorState.READY]
        self.now_s += pause_s
        for process in self.processes.values():
            process.started_s += pause_s
            process.progressed_s += pause_s
            process.asked_s = None if process.asked_s is None else process.asked_s + pause_s
        self.feed(ClockTick(dict(self.counts)))
        assert all(self.fleet.actors[name].state is ActorState.READY for name in ready)

    # How processes behave when they behave.

    def get_ready(self, name: str, slow_s: float = 0.0) -> None:
        process = self.processes[name]
        self.feed(ActorReady(name, process.incarnation, slow_s))
        # A second READY is progress too, and may carry another bound.
        process.ready, process.slow_s = True, slow_s
        process.progressed_s, process.starved_s = self.now_s, 0.0

    def behave(self) -> None:
        for name in sorted(self.processes):
            process = self.processes.get(name)
            if process is None:
                continue
            if process.killed:
                self.exit(name, -9)
            elif process.asked_s is not None and not process.stubborn:
                self.exit(name, 0)
            else:
                if not process.ready:
                    self.get_ready(name)
                self.counts[name] += 1
                process.progressed_s, process.starved_s = self.now_s, 0.0

    # What always holds.

    @invariant()
    def the_state_machine_knows_the_live_actors(self) -> None:
        alive = {name for name, actor in self.fleet.actors.items() if actor.alive}
        assert alive == set(self.processes)

    @invariant()
    def states_and_processes_agree(self) -> None:
        for name, actor in self.fleet.actors.items():
            living = actor.state in (ActorState.STARTING, ActorState.READY, ActorState.STOPPING)
            assert living == actor.alive, (name, actor)
            if name in self.stopped:
                assert actor.state in (ActorState.STOPPED, ActorState.STOPPING), (name, actor)

    @invariant()
    def restarts_within_the_window_are_bounded(self) -> None:
        for actor in self.fleet.actors.values():
            recent = [at_s for at_s in actor.restarted_at_s if at_s > self.now_s - RULES.window_s]
            assert len(recent) <= RULES.max_restarts
            if actor.state in (ActorState.BACKOFF, ActorState.STARTING):
                assert actor.failures <= RULES.max_restarts, "more in a row than its rules allow"

    def teardown(self) -> None:
        """Once all behave, everything settles: READY, FAILED or STOPPED, and nothing in between."""
        for _ in range(int(60 / TURN_S)):
            self.behave()
            self.turn()
        for name, actor in self.fleet.actors.items():
            assert actor.state in (ActorState.READY, ActorState.FAILED, ActorState.STOPPED), (
                name,
                actor,
            )
            if name not in self.stopped and not self.over:
                assert actor.state is not ActorState.STOPPED, (name, actor)
        if self.over:
            assert not self.processes
            assert self.fleet.gone


TestSupervision = Supervision.TestCase
TestSupervision.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

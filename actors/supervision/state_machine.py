"""Decides which actors are started, restarted, given up and stopped, and when. Pure.

`step(fleet, event, now_s, jitter)` returns the new fleet and the effects to carry out, in order. It
reads no clock and no process. The caller feeds every exit, readiness and change of progress, a
`ClockTick` at least every STALL_S / 2, and progress before the `ClockTick` of the same turn.

Guaranteed, for any order of events:

- an actor is spawned only when its previous incarnation is known to be dead;
- a stop wins: a stopped actor stays stopped until a person starts it, whatever was pending;
- a stop that was asked for, by a person or at the end, never counts as a failure;
- every failure ends in an immediate restart (the first one), BACKOFF, or FAILED; more than
  `max_restarts` in a row without an uptime of `settle_s` end in FAILED however long they take, as
  do more within `window_s`, and exits whose code says that a restart is pointless;
- an actor that is still alive `stop_timeout_s` after it was asked to stop is killed, repeatedly;
- an actor that is not ready after `start_timeout_s`, or makes no progress for `hang_timeout_s`, is
  killed and has failed; time in which the supervisor itself stood still, or in which the actor,
  once it is `in_question`, waited for a processor, does not count.

Actors start when those they come `after` are ready or given up, and stop in reverse order. In a
`rest_for_one` group, a failure also restarts the members listed later, once they are all gone.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping

from ..runtime.spec import Member
from .restart_policy import (
    EXIT_REASONS,
    after_failure,
    exit_text,
    hang_text,
    hang_timeout_s,
    refusal_text,
    remedy,
)
from .start_order import earlier_in_group, is_coming, is_going, later_in_group, still_needed
from .supervised import (
    NEVER,
    ActorReady,
    ActorRecord,
    ActorState,
    ClockTick,
    Exited,
    Faulty,
    FleetState,
    Reform,
    Restart,
    Start,
    Stop,
    StopAll,
    SupervisionEffect,
    SupervisionEvent,
    ordered,
)
from .transitions import Transitions

FIRST_STARTS_AT_ONCE = 16
"""Hundreds of actors that start at once would leave the supervisor no processor time, and exceed
their start timeouts. Restarts are never held back."""


def step(
    fleet: FleetState, event: SupervisionEvent, now_s: float, jitter: float = 0.5
) -> tuple[FleetState, list[SupervisionEffect]]:
    """The fleet after `event`, and the effects to carry out in order.

    `now_s` is any monotonic clock's, `jitter` in [0, 1) the random part of a back-off. Events of an
    incarnation that is not the live one change nothing. Raises KeyError for a request that names an
    unknown actor.
    """
    under_way = _Step(fleet, now_s, jitter)
    under_way.handle(event)
    under_way.launch()
    if under_way.stopping:
        under_way.stop_in_order()
    return under_way.outcome(), under_way.effects


class _Step(Transitions):
    """One step under way: which transitions an event leads to."""

    def __init__(self, fleet: FleetState, now_s: float, jitter: float) -> None:
        super().__init__(fleet, now_s)
        self.jitter = jitter

    def handle(self, event: SupervisionEvent) -> None:
        match event:
            case Start(names):
                self.start(self.members if names is None else names)
            case Stop(names, drain):
                for name in names:
                    self.stop(name, drain)
            case Restart(names):
                for name in names:
                    self.restart(name)
            case Reform(members, changed):
                self.reform(ordered(members), changed)
            case StopAll(hasten):
                self.stop_all(hasten)
            case ActorReady(name, incarnation, hang_timeout_s):
                if (
                    self.current(name, incarnation)
                    and self.actors[name].state is ActorState.STARTING
                ):
                    self.put(
                        name, progressed_at_s=self.now_s, ready_at_s=self.now_s, deadline_s=NEVER
                    )
                    self.put(name, hang_timeout_s=hang_timeout_s)
                    self.enter(name, ActorState.READY, "")
                elif (
                    self.current(name, incarnation) and self.actors[name].state is ActorState.READY
                ):
                    self.put(name, progressed_at_s=self.now_s, hang_timeout_s=hang_timeout_s)
            case Exited(name, incarnation, code, error):
                if self.current(name, incarnation):
                    self.exited(name, code, error)
            case Faulty(name, incarnation, fault):
                if self.current(name, incarnation):
                    self.end_by_fault(name, fault, gently=True)
            case ClockTick(progress, calls, starved_s):
                self.excuse_starved(starved_s)
                self.tick(progress, calls)

    def start(self, names: Iterable[str]) -> None:
        if self.stopping:
            return
        names = [name for name in names if name not in self.retired]
        for name in names:
            actor = self.actors[name]
            self.put(name, wanted=True, failures=0, restarted_at_s=())
            if actor.alive:
                # A STOPPING one starts again when it is gone.
                self.put(name, relaunch=actor.state is ActorState.STOPPING)
            elif actor.state is not ActorState.WAITING:
                before = frozenset(self.members[name].after).intersection(names)
                why = "started by a person" if actor.incarnation else ""
                self.put(name, for_ready=before, reason=why)
                self.enter(name, ActorState.WAITING, "starting")

    def stop(self, name: str, drain: bool) -> None:
        self.put(name, wanted=False, relaunch=False)
        if not self.actors[name].alive:
            self.enter(name, ActorState.STOPPED, "stopped by a person")
        elif self.actors[name].state is not ActorState.STOPPING or self.actors[name].draining:
            self.end(name, "drained by a person" if drain else "stopped by a person", drain=drain)

    def restart(self, name: str) -> None:
        actor = self.actors[name]
        if self.stopping or name in self.retired:
            return
        if not actor.alive:
            self.start([name])
            return
        self.put(name, wanted=True, relaunch=True, failures=0, restarted_at_s=())
        if actor.state is not ActorState.STOPPING:
            self.end(name, "restarted by a person")

    def reform(self, members: dict[str, Member], changed: frozenset[str]) -> None:
        """Retire the actors that are not in `members`, start the new ones, restart the changed."""
        if self.stopping:
            return
        before = set(self.members) - self.retired
        self.retired = frozenset(set(self.members) - set(members))
        self.members = members | {name: self.members[name] for name in self.retired}
        for name in members:
            self.actors.setdefault(name, ActorRecord(since_s=self.now_s))
        for name in before & self.retired:
            self.stop(name, drain=False)
        for name in changed & before - self.retired:
            if self.actors[name].wanted:
                self.restart(name)
        self.start([name for name in members if name not in before])

    def stop_all(self, hasten: bool) -> None:
        self.stopping = True
        for name, actor in self.actors.items():
            self.put(name, wanted=False, relaunch=False)
            if not actor.alive and actor.state is not ActorState.FAILED:
                self.enter(name, ActorState.STOPPED, "the fleet stops")
        if hasten:
            self.hastened = True
            for name, actor in self.actors.items():
                if actor.alive:
                    self.kill(name, actor.fault)

    def exited(self, name: str, code: int | None, error: str | None) -> None:
        actor, rules = self.actors[name], self.members[name].rules
        reason = actor.fault or exit_text(code, error)
        if actor.state is ActorState.STOPPING and not actor.fault:
            # The request is the reason; how it ended is added where it did not end as asked.
            as_asked = code in (0, -signal.SIGTERM)
            reason = actor.reason if as_asked else f"{actor.reason}; {reason}"
        self.put(name, alive=False, fault=None, draining=False, deadline_s=NEVER, reason=reason)
        if not actor.wanted:
            self.put(name, relaunch=False)
            self.enter(name, ActorState.STOPPED, reason)
        elif actor.relaunch:
            self.put(name, relaunch=False, restarts=actor.restarts + 1)
            self.enter(name, ActorState.WAITING, actor.reason)
        elif code is not None and code in EXIT_REASONS and not actor.fault:
            self.give_up(name, refusal_text(name, code, error))
        elif code == 0 and not actor.fault and rules.restart != "always":
            self.put(name, wanted=False)
            self.enter(name, ActorState.STOPPED, "finished")
        elif rules.restart == "never":
            self.give_up(name, f"{reason}; it is not to be restarted: {remedy(name)}")
        else:
            self.failed(name, reason)

    def failed(self, name: str, reason: str) -> None:
        """Restart `name` by its rules, and what comes after it in its group, or give it up."""
        decision = after_failure(
            self.actors[name], self.members[name].rules, self.now_s, self.jitter
        )
        self.put(name, failures=decision.failures, ready_at_s=NEVER)
        if decision.too_often:
            self.give_up(name, f"{reason}; it failed {decision.too_often}: {remedy(name)}")
            return
        later = [n for n in later_in_group(self.members, name) if self.actors[n].wanted]
        self.put(
            name,
            restarts=self.actors[name].restarts + 1,
            restarted_at_s=(*decision.recent_s, self.now_s),
            for_ready=frozenset(),
            for_gone=frozenset(later),
        )
        for member in later:
            self.follow(member, name)
        if decision.failures == 1:
            self.enter(name, ActorState.WAITING, reason)
        else:
            self.put(name, deadline_s=self.now_s + decision.delay_s)
            self.enter(name, ActorState.BACKOFF, reason)

    def follow(self, name: str, leader: str) -> None:
        """Restart `name` because `leader`, before it in their group, failed."""
        actor = self.actors[name]
        before = frozenset(earlier_in_group(self.members, name))
        self.put(name, for_ready=before, for_gone=frozenset())
        if actor.alive:
            self.put(name, relaunch=True)
            if actor.state is not ActorState.STOPPING:
                self.end(name, f"restarts with {leader}")

    def excuse_starved(self, starved_s: Mapping[str, float]) -> None:
        if self.stood_still:  # all of that time was excused
            return
        for name, seconds in starved_s.items():
            if name in self.actors and self.actors[name].alive:
                self.excuse(name, seconds)

    def tick(self, progress: Mapping[str, int], calls: Mapping[str, str]) -> None:
        for name, actor in list(self.actors.items()):
            count = progress.get(name, actor.progress)
            if count != actor.progress:
                self.put(name, progress=count, progressed_at_s=self.now_s)
                actor = self.actors[name]
            rules = self.members[name].rules
            if actor.state is ActorState.READY:
                timeout_s = hang_timeout_s(actor, rules)
                if self.now_s - actor.progressed_at_s >= timeout_s:
                    text = hang_text(self.members[name], timeout_s, calls.get(name, ""))
                    self.end_by_fault(name, text)
            elif self.now_s < actor.deadline_s:
                continue
            elif actor.state is ActorState.BACKOFF:
                self.put(name, deadline_s=NEVER)
                self.enter(name, ActorState.WAITING, actor.reason)
            elif actor.state is ActorState.STARTING:
                self.end_by_fault(name, f"not ready within {rules.start_timeout_s:g} s")
            elif actor.state is ActorState.STOPPING:
                self.escalate(name)

    def launch(self) -> None:
        """Spawn the actors that wait for no other any more."""
        for name, actor in list(self.actors.items()):
            if actor.state is not ActorState.WAITING or actor.alive or self.stopping:
                continue
            if any(is_coming(self.actors.get(other)) for other in actor.for_ready):
                continue
            if any(is_going(self.actors.get(other)) for other in actor.for_gone):
                continue
            if actor.incarnation == 0 and self.starting() >= FIRST_STARTS_AT_ONCE:
                continue
            self.spawn(name)

    def stop_in_order(self) -> None:
        """Ask the actors to stop that no live one comes after."""
        needed = still_needed(self.members, self.actors)
        for name, actor in list(self.actors.items()):
            if actor.alive and actor.state is not ActorState.STOPPING and name not in needed:
                self.end(name, "the fleet stops")

    def starting(self) -> int:
        """How many actors are starting."""
        return sum(actor.state is ActorState.STARTING for actor in self.actors.values())

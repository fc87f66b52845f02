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
  killed and has failed; time in which the supervisor itself stood still does not count.

Actors start when those they come `after` are ready or given up, and stop in reverse order. In a
`rest_for_one` group, a failure also restarts the members listed later, once they are all gone.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from ..runtime.spec import Member, Rules
from .supervised import (
    NEVER,
    ActorReady,
    ActorRecord,
    ActorState,
    AskToStop,
    Changed,
    ClockTick,
    Exited,
    Faulty,
    FleetState,
    Kill,
    Reform,
    Restart,
    Spawn,
    Start,
    Stop,
    StopAll,
    SupervisionEffect,
    SupervisionEvent,
    ordered,
)

STALL_S = 1.0
REKILL_S = 1.0
FIRST_STARTS_AT_ONCE = 16
"""A fleet of hundreds that all start at once would starve its own supervisor and time out. Restarts
are never held back."""
UNREADY_PATIENCE_S = 0.5
EXIT_REASONS = {3: "refused its configuration", 4: "is dead until a person restarts it"}
"""Exit codes after which a restart is pointless."""


def step(
    fleet: FleetState, event: SupervisionEvent, now_s: float, jitter: float = 0.5
) -> tuple[FleetState, list[SupervisionEffect]]:
    """The fleet after `event` at `now_s`, and what to do about it."""
    turn = _Turn(fleet, now_s, jitter)
    turn.handle(event)
    turn.launch()
    if turn.stopping:
        turn.stop_in_order()
    return turn.outcome(), turn.effects


def exit_text(code: int | None, error: str | None = None) -> str:
    """`killed by SIGKILL`, `exited with status 1: no such camera`."""
    if code is None:
        return error or "could not be started"
    if error:
        return f"{exit_text(code)}: {error}"
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exited with status {code}"


def hang_timeout_s(actor: ActorRecord, rules: Rules) -> float:
    """For how long `actor` may make no progress before it counts as hung."""
    return max(rules.hang_timeout_s, actor.hang_timeout_s)


class _Turn:
    """One step under way: a working copy of the actors, and the effects so far."""

    def __init__(self, fleet: FleetState, now_s: float, jitter: float) -> None:
        self.members = fleet.members
        self.retired = fleet.retired
        self.actors = dict(fleet.actors)
        self.now_s = now_s
        self.jitter = jitter
        self.stopping = fleet.stopping
        self.hastened = fleet.hastened
        self.stood_still_s = now_s - fleet.now_s if now_s - fleet.now_s > STALL_S else 0.0
        self.effects: list[SupervisionEffect] = []

    def outcome(self) -> FleetState:
        """The fleet after this step, without those that were retired and are gone."""
        gone = {name for name in self.retired if not self.actors[name].alive}
        if gone:
            self.members = {n: member for n, member in self.members.items() if n not in gone}
            self.actors = {n: actor for n, actor in self.actors.items() if n not in gone}
        return FleetState(
            self.members,
            self.actors,
            self.now_s,
            self.stopping,
            self.hastened,
            self.retired - gone,
        )

    def handle(self, event: SupervisionEvent) -> None:
        if self.stood_still_s:
            self.forgive_standstill()
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
            case Exited(name, incarnation, code, error):
                if self.current(name, incarnation):
                    self.exited(name, code, error)
            case Faulty(name, incarnation, fault):
                if self.current(name, incarnation):
                    self.end_by_fault(name, fault, gently=True)
            case ClockTick(progress):
                self.tick(progress)

    def start(self, names: Iterable[str]) -> None:
        if self.stopping:
            return
        names = [name for name in names if name not in self.retired]
        for name in names:
            actor = self.actors[name]
            self.put(name, wanted=True, failures=0, restarted_at_s=())
            if actor.alive:
                # One that is on its way out starts again when it is gone.
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
        """Retire whom the new fleet lacks, start whom it adds, replace the changed ones."""
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
            # It was asked to: that is the reason, and how it ended only where it did not obey.
            obeyed = code in (0, -signal.SIGTERM)
            reason = actor.reason if obeyed else f"{actor.reason}; {reason}"
        self.put(name, alive=False, fault=None, draining=False, deadline_s=NEVER, reason=reason)
        if not actor.wanted:
            self.put(name, relaunch=False)
            self.enter(name, ActorState.STOPPED, reason)
        elif actor.relaunch:
            self.put(name, relaunch=False, restarts=actor.restarts + 1)
            self.enter(name, ActorState.WAITING, actor.reason)
        elif code is not None and code in EXIT_REASONS and not actor.fault:
            self.give_up(name, f"{EXIT_REASONS[code]}: {error or exit_text(code)}")
        elif code == 0 and not actor.fault and rules.restart != "always":
            self.put(name, wanted=False)
            self.enter(name, ActorState.STOPPED, "finished")
        elif rules.restart == "never":
            self.give_up(name, f"{reason}; it is not to be restarted")
        else:
            self.failed(name, reason)

    def failed(self, name: str, reason: str) -> None:
        actor, rules = self.actors[name], self.members[name].rules
        settled = self.now_s - actor.ready_at_s >= rules.settle_s
        failures = 1 if settled else actor.failures + 1
        recent = tuple(at_s for at_s in actor.restarted_at_s if at_s > self.now_s - rules.window_s)
        self.put(name, failures=failures, ready_at_s=NEVER)
        often = ""
        if failures > rules.max_restarts:
            often = f"{failures} times in a row, never up for {rules.settle_s:g} s"
        elif len(recent) >= rules.max_restarts:
            often = f"{len(recent) + 1} times within {rules.window_s:g} s"
        if often:
            remedy = f"mend the cause, then `actorctl start {name}`"
            self.give_up(name, f"{reason}; it failed {often}: {remedy}")
            return
        later = self.later_in_group(name)
        self.put(
            name,
            restarts=actor.restarts + 1,
            restarted_at_s=(*recent, self.now_s),
            for_ready=frozenset(),
            for_gone=frozenset(later),
        )
        for member in later:
            self.follow(member, name)
        if failures == 1:
            self.enter(name, ActorState.WAITING, reason)
        else:
            delay = min(rules.backoff_s * 2.0 ** (failures - 2), rules.max_backoff_s)
            # Half of it is jitter, so that what fell together does not come back together.
            self.put(name, deadline_s=self.now_s + delay * (0.5 + 0.5 * self.jitter))
            self.enter(name, ActorState.BACKOFF, reason)

    def follow(self, name: str, leader: str) -> None:
        """End `name` because `leader`, before it in their group, failed; it starts again after."""
        actor = self.actors[name]
        before = frozenset(n for n in self.group_of(name) if n != name and self.is_before(n, name))
        self.put(name, for_ready=before, for_gone=frozenset())
        if actor.alive:
            self.put(name, relaunch=True)
            if actor.state is not ActorState.STOPPING:
                self.end(name, f"restarts with {leader}")

    def give_up(self, name: str, reason: str) -> None:
        self.put(name, reason=reason, deadline_s=NEVER)
        self.enter(name, ActorState.FAILED, reason)

    def tick(self, progress: Mapping[str, int]) -> None:
        for name, actor in list(self.actors.items()):
            count = progress.get(name, actor.progress)
            if count != actor.progress:
                self.put(name, progress=count, progressed_at_s=self.now_s)
                actor = self.actors[name]
            rules = self.members[name].rules
            if actor.state is ActorState.READY:
                timeout_s = hang_timeout_s(actor, rules)
                if self.now_s - actor.progressed_at_s >= timeout_s:
                    self.end_by_fault(name, f"hung: no progress for {timeout_s:g} s")
            elif self.now_s < actor.deadline_s:
                continue
            elif actor.state is ActorState.BACKOFF:
                self.put(name, deadline_s=NEVER)
                self.enter(name, ActorState.WAITING, actor.reason)
            elif actor.state is ActorState.STARTING:
                self.end_by_fault(name, f"not ready within {rules.start_timeout_s:g} s")
            elif actor.state is ActorState.STOPPING:
                self.escalate(name)

    def escalate(self, name: str) -> None:
        actor = self.actors[name]
        if actor.draining:
            self.end(name, "did not finish draining")
        else:
            self.kill(name, actor.fault)

    def end_by_fault(self, name: str, fault: str, gently: bool = False) -> None:
        """End one that misbehaves; its exit will count as a failure."""
        if self.actors[name].state is ActorState.STOPPING:
            return
        if gently:
            self.put(name, fault=fault)
            self.end(name, fault)
        else:
            self.enter(name, ActorState.STOPPING, fault)
            self.kill(name, fault)

    def end(self, name: str, reason: str, drain: bool = False) -> None:
        actor, rules = self.actors[name], self.members[name].rules
        timeout_s = rules.drain_timeout_s if drain else rules.stop_timeout_s
        if actor.state is ActorState.STARTING:
            # It has nothing to finish, and may be deep in an import that hears nothing.
            timeout_s = min(timeout_s, UNREADY_PATIENCE_S)
        self.put(name, deadline_s=self.now_s + timeout_s, reason=reason, draining=drain)
        self.enter(name, ActorState.STOPPING, reason)
        self.effects.append(AskToStop(name, actor.incarnation, drain))

    def kill(self, name: str, fault: str | None) -> None:
        self.put(name, deadline_s=self.now_s + REKILL_S, fault=fault)
        if self.actors[name].state is not ActorState.STOPPING:
            self.enter(name, ActorState.STOPPING, fault or "killed")
        self.effects.append(Kill(name, self.actors[name].incarnation))

    def launch(self) -> None:
        """Spawn whoever waits for nobody any more."""
        for name, actor in list(self.actors.items()):
            if actor.state is not ActorState.WAITING or actor.alive or self.stopping:
                continue
            if any(self.is_coming(other) for other in actor.for_ready):
                continue
            if any(self.is_going(other) for other in actor.for_gone):
                continue
            if actor.incarnation == 0 and self.starting() >= FIRST_STARTS_AT_ONCE:
                continue
            incarnation = actor.incarnation + 1
            self.put(
                name,
                alive=True,
                incarnation=incarnation,
                deadline_s=self.now_s + self.members[name].rules.start_timeout_s,
                ready_at_s=NEVER,
                hang_timeout_s=0.0,
                for_ready=frozenset(),
                for_gone=frozenset(),
            )
            self.enter(name, ActorState.STARTING, actor.reason)
            self.effects.append(Spawn(name, incarnation))

    def stop_in_order(self) -> None:
        """Ask those to stop after whom nobody alive comes."""
        needed = {
            before
            for name, actor in self.actors.items()
            if actor.alive
            for before in self.members[name].after
        }
        for name, actor in list(self.actors.items()):
            if actor.alive and actor.state is not ActorState.STOPPING and name not in needed:
                self.end(name, "the fleet stops")

    def starting(self) -> int:
        return sum(actor.state is ActorState.STARTING for actor in self.actors.values())

    def is_coming(self, name: str) -> bool:
        """True while it may still get ready by itself."""
        actor = self.actors.get(name)
        return (
            actor is not None
            and actor.wanted
            and actor.state not in (ActorState.READY, ActorState.FAILED)
        )

    def is_going(self, name: str) -> bool:
        """True while it is being ended."""
        actor = self.actors.get(name)
        return actor is not None and actor.state is ActorState.STOPPING

    def later_in_group(self, name: str) -> list[str]:
        return [
            other
            for other in self.group_of(name)
            if other != name and self.is_before(name, other) and self.actors[other].wanted
        ]

    def group_of(self, name: str) -> list[str]:
        group = self.members[name].group
        if group is None:
            return []
        return [other for other, member in self.members.items() if member.group == group]

    def is_before(self, first: str, second: str) -> bool:
        order = list(self.members)
        return order.index(first) < order.index(second)

    def forgive_standstill(self) -> None:
        for name, actor in list(self.actors.items()):
            if actor.alive:
                self.put(
                    name,
                    progressed_at_s=actor.progressed_at_s + self.stood_still_s,
                    deadline_s=actor.deadline_s + self.stood_still_s,
                )

    def current(self, name: str, incarnation: int) -> bool:
        actor = self.actors.get(name)
        return actor is not None and actor.alive and actor.incarnation == incarnation

    def put(self, name: str, **fields: object) -> None:
        self.actors[name] = replace(self.actors[name], **fields)

    def enter(self, name: str, state: ActorState, reason: str) -> None:
        old = self.actors[name].state
        if old is not state:
            self.put(name, state=state, since_s=self.now_s)
            self.effects.append(Changed(name, old, state, reason))

"""The transitions of single actors within one step of the state machine, and their effects.

Which event leads to which transition is decided in `state_machine`.
"""

from __future__ import annotations

from msgspec.structs import replace

from .supervised import (
    NEVER,
    ActorRecord,
    ActorState,
    AskToStop,
    Changed,
    FleetState,
    Kill,
    Spawn,
    SupervisionEffect,
)

STALL_S = 1.0
"""A step that comes later than this after the last one: the supervisor itself stood still."""
REKILL_S = 1.0
UNREADY_STOP_S = 0.5


class Transitions:
    """A working copy of a fleet during one step, and the effects so far."""

    def __init__(self, fleet: FleetState, now_s: float) -> None:
        self.members = fleet.members
        self.retired = fleet.retired
        self.actors: dict[str, ActorRecord] = dict(fleet.actors)
        self.now_s = now_s
        self.stood_still = now_s - fleet.now_s > STALL_S
        self.stopping = fleet.stopping
        self.hastened = fleet.hastened
        self.effects: list[SupervisionEffect] = []
        if self.stood_still:
            self._extend_deadlines(now_s - fleet.now_s)

    def outcome(self) -> FleetState:
        """The fleet after this step, without the retired actors whose processes are gone."""
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

    def current(self, name: str, incarnation: int) -> bool:
        """Whether `incarnation` is the live one: events of others are ignored."""
        actor = self.actors.get(name)
        return actor is not None and actor.alive and actor.incarnation == incarnation

    def put(self, name: str, **fields: object) -> None:
        """Change fields of the record of `name`."""
        self.actors[name] = replace(self.actors[name], **fields)

    def enter(self, name: str, state: ActorState, reason: str) -> None:
        """Change the state of `name`, unless it is in that state."""
        old = self.actors[name].state
        if old is not state:
            self.put(name, state=state, since_s=self.now_s)
            self.effects.append(Changed(name, old, state, reason))

    def spawn(self, name: str) -> None:
        """Start the next incarnation of `name`."""
        actor = self.actors[name]
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
        # A failure is counted, and its restart remembered, until a person starts or restarts it.
        forgiven = incarnation > 1 and actor.failures == 0 and not actor.restarted_at_s
        self.effects.append(Spawn(name, incarnation, forgiven))

    def end(self, name: str, reason: str, drain: bool = False) -> None:
        """Ask `name` to stop, or to drain first; it is killed when its rules' timeout is over."""
        actor, rules = self.actors[name], self.members[name].rules
        timeout_s = rules.drain_timeout_s if drain else rules.stop_timeout_s
        if actor.state is ActorState.STARTING:
            # It serves nothing yet, and during an import it reads no commands.
            timeout_s = min(timeout_s, UNREADY_STOP_S)
        self.put(name, deadline_s=self.now_s + timeout_s, reason=reason, draining=drain)
        self.enter(name, ActorState.STOPPING, reason)
        self.effects.append(AskToStop(name, actor.incarnation, drain))

    def escalate(self, name: str) -> None:
        """The timeout of a STOPPING actor is over: a drain becomes a stop, a stop a kill."""
        actor = self.actors[name]
        if actor.draining:
            self.end(name, "did not finish draining")
        else:
            self.kill(name, actor.fault)

    def end_by_fault(self, name: str, fault: str, gently: bool = False) -> None:
        """End an actor that misbehaves, unless it is STOPPING; its exit will count as a failure."""
        if self.actors[name].state is ActorState.STOPPING:
            return
        if gently:
            self.put(name, fault=fault)
            self.end(name, fault)
        else:
            self.enter(name, ActorState.STOPPING, fault)
            self.kill(name, fault)

    def kill(self, name: str, fault: str | None) -> None:
        """Kill its process; again after REKILL_S if it is still there."""
        self.put(name, deadline_s=self.now_s + REKILL_S, fault=fault)
        if self.actors[name].state is not ActorState.STOPPING:
            self.enter(name, ActorState.STOPPING, fault or "killed")
        self.effects.append(Kill(name, self.actors[name].incarnation))

    def give_up(self, name: str, reason: str) -> None:
        """Do not start `name` again until a person does."""
        self.put(name, reason=reason, deadline_s=NEVER)
        self.enter(name, ActorState.FAILED, reason)

    def excuse(self, name: str, seconds: float) -> None:
        """So much of the time that has passed does not count against `name`."""
        actor = self.actors[name]
        self.put(
            name,
            progressed_at_s=min(self.now_s, actor.progressed_at_s + seconds),
            deadline_s=actor.deadline_s + seconds,
        )

    def _extend_deadlines(self, stood_still_s: float) -> None:
        """Time in which the supervisor stood still counts against no actor."""
        for name, actor in list(self.actors.items()):
            if actor.alive:
                self.excuse(name, stood_still_s)

"""`Placement`: where sessions are, and where one could begin or go on. It changes nothing."""

from __future__ import annotations

from collections import Counter, OrderedDict

from ...transport.bodies import Open
from .replica_choice import failover_for, place_for
from .replicas import Registry, Replica
from .sessions import RoutedSession, Sessions

MAX_HOMES = 4096
"""Robots whose last replica is remembered after their session ended."""


class Placement:
    """The replicas' loads, and the choice between them."""

    def __init__(self, registry: Registry, sessions: Sessions) -> None:
        self._registry, self._sessions = registry, sessions
        self._homes: OrderedDict[str, str] = OrderedDict()

    def came(self, robot: str, replica: Replica) -> None:
        """The session of `robot` begins at `replica`, to which it returns later if it can."""
        self._homes[robot] = replica.name
        self._homes.move_to_end(robot)
        if len(self._homes) > MAX_HOMES:
            self._homes.popitem(last=False)

    def loads(self) -> Counter[bytes]:
        """How many sessions each replica holds: those routed here, and by its own word those of
        other brokers."""
        loads = self._sessions.loads()
        for replica in self._registry:
            loads[replica.identity] += replica.elsewhere
        return loads

    def place(self, asked: Open) -> Replica | None:
        """Where a session that is asked for would begin; the place of the robot's present one
        counts as free, be it here or by another broker."""
        loads = self.loads()
        present = self._sessions.of(asked.robot)
        holder = self._registry.named(asked.holder)
        if present is not None:
            loads[present.replica] -= 1
        elif holder is not None and holder.service == asked.service:
            # Or less than it holds: the robot may have left it. Then it refuses, and another is
            # tried.
            loads[holder.identity] -= min(1, holder.elsewhere)
        home = asked.holder or self._homes.get(asked.robot)
        return place_for(self._registry, loads, asked.service, home)

    def failover_target(self, session: RoutedSession) -> Replica | None:
        """Where `session` could go on, if anywhere; its own place there counts as free."""
        loads = self.loads()
        loads[session.replica] -= 1
        return failover_for(self._registry, loads, session)

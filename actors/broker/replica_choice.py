"""Which replica takes a robot's session, or why none does.

A robot returns to the replica it was last at while that answers and has room (its processor state
and its outbox mapping are there), else to the least loaded one of its service; never to a draining
one. Whether the robot fits the policy is decided by the replica, to which the OPEN is forwarded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ...transport.bodies import Open, Reject
from .replicas import Registry, Replica
from .sessions import RoutedSession

RETRY_AFTER_S = 1.0


def with_room(registry: Registry, loads: Counter[bytes], service: str) -> list[Replica]:
    """The replicas of `service` that may take one more session: none once all of them together have
    as many as the service allows."""
    replicas = registry.of(service)
    limit = _limit(replicas)
    if limit and sum(loads[replica.identity] for replica in replicas) >= limit:
        return []
    return [
        replica
        for replica in replicas
        if not replica.draining and loads[replica.identity] < replica.offer.capacity
    ]


def room_of(replicas: list[Replica]) -> int:
    """How many sessions the `replicas` of one service take together."""
    places = sum(replica.offer.capacity for replica in replicas)
    return min(places, _limit(replicas) or places)


def place_for(
    registry: Registry, loads: Counter[bytes], service: str, home: str | None
) -> Replica | None:
    """The replica for a robot that opens a session; `home` is the name of its last one."""
    candidates = with_room(registry, loads, service)
    for replica in candidates:
        if replica.name == home and not replica.suspect:
            return replica
    return _least_loaded(candidates, loads)


def failover_for(
    registry: Registry, loads: Counter[bytes], session: RoutedSession
) -> Replica | None:
    """Another replica that can continue `session` without its robot's doing.

    Of the same service; once the robot was accepted also with the same weights, because a plan of
    one checkpoint must not be continued by another; and on the same host if the robot was accepted
    with references to its shared memory in place of images.
    """
    terms = session.terms
    fit = [
        replica
        for replica in with_room(registry, loads, session.service)
        if replica.identity not in session.refused
        and (terms is None or replica.offer.checkpoint == terms.checkpoint)
        and (terms is None or not terms.shm or replica.offer.boot_id == _boot_id(session))
    ]
    return _least_loaded(fit, loads)


def refusal(
    registry: Registry, loads: Counter[bytes], asked: Open, external: Collection[str] = ()
) -> Reject:
    """Why no replica of `asked.service` takes the robot, and which others would have room; scripts
    serve the services in `external`."""
    replicas = registry.of(asked.service)
    elsewhere = sorted(
        {
            service
            for service in registry.services()
            if service != asked.service
            for replica in with_room(registry, loads, service)
            if replica.offer.action_names == asked.action_names
        }
    )
    hint = f"; with room for such a robot: {', '.join(elsewhere)}" if elsewhere else ""
    if not replicas and asked.service in external:
        return Reject(
            reason="no-replica",
            message=f"service {asked.service!r} has no replica: a script has to serve it: "
            f"holdfast.serve(policy, service={asked.service!r}){hint}",
            retry_after_s=RETRY_AFTER_S,
            alternatives=tuple(elsewhere),
        )
    if not replicas:
        known = ", ".join(registry.services()) or "none"
        return Reject(
            reason="no-replica",
            message=f"no replica serves {asked.service!r} now (served: {known}): start one, wait "
            f"until it is ready, or correct the robot's service{hint}",
            retry_after_s=RETRY_AFTER_S,
            alternatives=tuple(elsewhere),
        )
    capacity = room_of(replicas)
    used = sum(loads[replica.identity] for replica in replicas)
    draining = all(replica.draining for replica in replicas)
    state = "is draining" if draining else "is full"
    advice = "add a replica or raise its limit"
    if used >= _limit(replicas) > 0:
        advice = "raise its `max_sessions`, which counts over all replicas"
    elif all(replica.offer.stateful for replica in replicas):
        advice = "each serves one robot at a time, as its policy must; add a replica"
    return Reject(
        reason="draining" if draining else "capacity",
        message=f"{asked.service!r} {state}: {used} sessions, room for {capacity} on "
        f"{len(replicas)} replicas; {advice}{hint}",
        retry_after_s=RETRY_AFTER_S,
        load=used / capacity if capacity else 1.0,
        alternatives=tuple(elsewhere),
    )


def _least_loaded(replicas: list[Replica], loads: Counter[bytes]) -> Replica | None:
    """The replica whose device would be the least busy with one session more, those that answer
    first; among equals by name.

    By the times of batches that the replicas measured, so that of unequal devices each gets a share
    that fits its speed; where one has measured none, by the share of its places that is taken.
    """
    measured = all(map(_request_s, replicas))

    def rank(replica: Replica) -> tuple[bool, float, str]:
        held = loads[replica.identity]
        busy = (held + 1) * _request_s(replica) if measured else held / replica.offer.capacity
        return replica.suspect, busy, replica.name

    return min(replicas, key=rank, default=None)


def _request_s(replica: Replica) -> float:
    """How long its device takes for one request, in the batches that it does best; 0 if it has
    measured none."""
    times = enumerate(replica.offer.batch_s, 1)
    return min((seconds / size for size, seconds in times if seconds > 0), default=0.0)


def _limit(replicas: list[Replica]) -> int:
    """The most sessions of their service; 0 for no limit but the replicas' own."""
    return max((replica.offer.service_limit for replica in replicas), default=0)


def _boot_id(session: RoutedSession) -> str:
    opening = session.opening.body
    return opening.boot_id if isinstance(opening, Open) else ""

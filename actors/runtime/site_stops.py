"""`SiteStops`: the emergency stops of a site, as one of its hosts knows them. Pure.

A set of stops and a set of lifts, which only grow: hosts exchange them in any order, as often as
they like, and have the same in force in the end. Guaranteed: a stop that is known is in force for
each of its robots until a lift of that stop is known; nothing else ends it, neither an old message
nor a lost one.

Where more are in force than there is room for, one stop stands in for the newest of them. Its id is
the hash of theirs: every set has its own, so that no lift was made before the set was known, and
hosts that stand in for the same stops agree. What a stand-in names does not matter to what is in
force: it only keeps a stop that is heard of again from making another stand-in.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from ...transport.stop_bodies import MAX_NAMED, MAX_REPLACED, MAX_STOPS, Lift, SiteStop

MAX_LIFTS = 4 * MAX_STOPS
"""Of one stop, and of stops that are not known."""


def stands_in(one: SiteStop, known: SiteStop) -> bool:
    """Whether `one` is in the place of a stop that is known here: it names the robots of that, but
    for those that were lifted before it was made."""
    named = set(_checked(one).instead_of)
    all_ = bool(known.instead_of) and named.issuperset(known.instead_of)
    return one.id != known.id and (known.id in named or all_)


def new_stop(robots: Iterable[str], by: str, why: str, at_s: float) -> SiteStop:
    """A stop of `robots`, or of all of the site where none is named, or more than one names."""
    named = tuple(sorted(set(robots)))
    return SiteStop(
        id=secrets.token_hex(8),
        robots=named if len(named) <= MAX_NAMED else (),
        by=by[:256],
        why=why[:256],
        at_s=at_s,
    )


@dataclass(frozen=True)
class SiteStops:
    """By id, and their lifts: first the stops that are over, in the order in which they came to be
    so here, of which the last are kept."""

    stops: Mapping[str, SiteStop] = field(default_factory=dict)
    lifts: frozenset[Lift] = frozenset()

    def merged(self, stops: Iterable[SiteStop], lifts: Iterable[Lift]) -> SiteStops:
        """With those of another host. The lifts are valid: see `may_lift`."""
        new: dict[str, SiteStop] = {}
        for stop in map(_checked, stops):
            before = new.get(stop.id) or self.stops.get(stop.id)
            new[stop.id] = stop if before is None else _joined(before, stop)
        # Those that are over and were not known here come first: they push none out.
        known = {id: stop for id, stop in new.items() if id not in self.stops}
        known |= {id: new.get(id, stop) for id, stop in self.stops.items()}
        return _bounded(known, self.lifts | frozenset(lifts))

    def holding(self, robot: str) -> list[SiteStop]:
        """The stops in force for a robot, the first one first."""
        found = (s for s in self.stops.values() if not s.robots or robot in s.robots)
        return sorted((s for s in found if not self._is_lifted(s.id, robot)), key=_age)

    def without(self, stops: Collection[str]) -> SiteStops:
        """The same without these: they are in force by others."""
        return SiteStops({k: s for k, s in self.stops.items() if k not in stops}, self.lifts)

    def standing_for(self, stop: str) -> frozenset[str]:
        """The ids of the stops by which `stop` is in force: its own, or those that stand in."""
        return frozenset(s.id for s in self.in_force() if stop == s.id or stop in s.instead_of)

    def in_force(self) -> list[SiteStop]:
        """The stops that are in force for a robot at least, the first one first."""
        return sorted((s for s in self.stops.values() if not _is_over(s, self.lifts)), key=_age)

    def lifting(self, robots: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
        """What lifts every stop in force from `robots`, or from all where none is named: (stop,
        robots) of each lift."""
        named = tuple(sorted(set(robots)))[:MAX_NAMED]
        return [
            (stop.id, tuple(r for r in named if not stop.robots or r in stop.robots))
            for stop in self.in_force()
            if not named or any(stop in self.holding(robot) for robot in named)
        ]

    @property
    def digest(self) -> str:
        """Differs between hosts that have not the same in force. Stops that are over do not count:
        which of them are kept is each host's own matter."""
        stops = self.in_force()
        ids = {stop.id for stop in stops}
        lifts = sorted((lift for lift in self.lifts if lift.stop in ids), key=_content)
        return hashlib.sha256(msgspec.msgpack.encode((stops, lifts))).hexdigest()[:32]

    def _is_lifted(self, stop: str, robot: str) -> bool:
        return any(
            lift.stop == stop and (not lift.robots or robot in lift.robots) for lift in self.lifts
        )


def _is_over(stop: SiteStop, lifts: Iterable[Lift]) -> bool:
    """Whether it is lifted from every robot."""
    own = [lift.robots for lift in lifts if lift.stop == stop.id]
    if () in own:
        return True
    return bool(stop.robots) and set(stop.robots) <= {name for names in own for name in names}


def _checked(stop: SiteStop) -> SiteStop:
    """Without the names of other stops where its id is not their hash."""
    if not stop.instead_of or stop.id == _id_of(stop.instead_of):
        return stop
    return msgspec.structs.replace(stop, instead_of=())


def _joined(one: SiteStop, other: SiteStop) -> SiteStop:
    """Two forms of one stop: it holds all robots that either holds."""
    if one == other:
        return one
    first = min(one, other, key=lambda each: (each.at_s, each.by, each.why))
    return msgspec.structs.replace(
        first,
        robots=_together([one.robots, other.robots]),
        instead_of=one.instead_of or other.instead_of,
    )


def _together(robots: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """All of them; empty, which is all of the site, where that is among them, or for too many."""
    names = tuple(sorted({name for each in robots for name in each}))
    return () if () in robots or len(names) > MAX_NAMED else names


def _bounded(stops: dict[str, SiteStop], lifts: frozenset[Lift]) -> SiteStops:
    """The stops in force, and the last that are over."""
    over = [stop for stop in stops.values() if _is_over(stop, lifts)]
    gone = {stop.id for stop in over}
    open_ = sorted((stop for stop in stops.values() if stop.id not in gone), key=_age)
    if len(open_) > MAX_STOPS:
        open_ = _with_stand_in(open_, lifts)
    kept = {stop.id: stop for stop in (*over[-MAX_STOPS:], *open_)}
    lifts = _distinct(lifts)
    known = [lift for lift in lifts if lift.stop in kept]
    early = sorted((lift for lift in lifts if lift.stop not in kept), key=_content)
    room = max(0, MAX_LIFTS - len(known))
    return SiteStops(kept, frozenset((*known, *early[:room])))


def _with_stand_in(stops: Sequence[SiteStop], lifts: Collection[Lift]) -> list[SiteStop]:
    """The first of the stops in force, and one instead of the others: of those that are stand-ins,
    or that one names, and as many of the newest as there is no room for."""
    named = {id for stop in stops for id in stop.instead_of}
    alone = [stop for stop in stops if not stop.instead_of and stop.id not in named]
    kept = alone[: MAX_STOPS - 1]
    return [*kept, _stand_in([stop for stop in stops if stop not in kept], lifts)]


def _stand_in(stops: Sequence[SiteStop], lifts: Collection[Lift]) -> SiteStop:
    """One stop for each robot that one of them holds still."""
    named = {id for stop in stops for id in stop.instead_of}
    apart = [stop for stop in stops if stop.id not in named]
    names = {id for stop in apart for id in stop.instead_of or (stop.id,)}
    if len(names) > MAX_REPLACED:
        names = _few({stop.id for stop in apart})
    # Not even a lift of just this set frees a robot: it may be known here for long.
    while any(lift.stop == _id_of(names) for lift in lifts):
        names = _few({*names, _id_of(names)})
    first = min(stops, key=_age)
    return SiteStop(
        id=_id_of(names),
        robots=_together([_still_held(stop, lifts) for stop in stops]),
        by=first.by,
        why=first.why,
        at_s=first.at_s,
        instead_of=tuple(sorted(names)),
    )


def _still_held(stop: SiteStop, lifts: Iterable[Lift]) -> tuple[str, ...]:
    lifted = {name for lift in lifts if lift.stop == stop.id for name in lift.robots}
    return tuple(name for name in stop.robots if name not in lifted)


def _few(names: Collection[str]) -> set[str]:
    """All of them, or some and the hash of all."""
    if len(names) <= MAX_REPLACED:
        return set(names)
    return {*sorted(names)[: MAX_REPLACED - 1], _id_of(names)}


def _id_of(stops: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(stops)).encode()).hexdigest()[:16]


def _distinct(lifts: Iterable[Lift]) -> frozenset[Lift]:
    """Without copies that differ in what no signature covers, and of each stop those of the most
    robots: to leave one out holds a robot longer, and frees none."""
    found: dict[tuple[str, tuple[str, ...], str, str], Lift] = {}
    for lift in sorted(lifts, key=_content):
        found.setdefault((lift.stop, lift.robots, lift.key, lift.proof), lift)
    counts: Counter[str] = Counter()
    kept = []
    for lift in sorted(found.values(), key=_reach):
        counts[lift.stop] += 1
        if counts[lift.stop] <= MAX_LIFTS:
            kept.append(lift)
    return frozenset(kept)


def _reach(lift: Lift) -> tuple[bool, int, bytes]:
    return bool(lift.robots), -len(lift.robots), _content(lift)


def _age(stop: SiteStop) -> tuple[float, str]:
    return stop.at_s, stop.id


def _content(lift: Lift) -> bytes:
    return msgspec.msgpack.encode(lift)

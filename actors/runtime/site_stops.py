"""`SiteStops`: the emergency stops of a site, as one of its hosts knows them. Pure.

A set of stops and a set of lifts, which only grow: hosts exchange them in any order, as often as
they like, and know the same in the end. Guaranteed: a stop that is known is in force for each of
its robots until a lift of that stop is known; nothing else ends it, neither an old message nor a
lost one, nor more stops than there is room for.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from ...transport.stop_bodies import MAX_NAMED, MAX_STOPS, Lift, SiteStop

MAX_LIFTS = 4 * MAX_STOPS
"""Of one stop, and of stops that are not known."""


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
    """By id, and their lifts."""

    stops: Mapping[str, SiteStop] = field(default_factory=dict)
    lifts: frozenset[Lift] = frozenset()

    def merged(self, stops: Iterable[SiteStop], lifts: Iterable[Lift]) -> SiteStops:
        """With those of another host. The lifts are valid: see `may_lift`."""
        known = dict(self.stops)
        for stop in stops:
            before = known.get(stop.id)
            known[stop.id] = stop if before is None else _joined(before, stop)
        return _bounded(known, self.lifts | frozenset(lifts))

    def holding(self, robot: str) -> list[SiteStop]:
        """The stops in force for a robot, the first one first."""
        found = (s for s in self.stops.values() if not s.robots or robot in s.robots)
        return sorted((s for s in found if not self._is_lifted(s.id, robot)), key=_age)

    def covering(self, robots: Iterable[str]) -> SiteStop | None:
        """The first stop that holds all `robots`, or all of the site where none is named."""
        named = tuple(robots)
        for stop in self.in_force():
            whole = not stop.robots and all(lift.stop != stop.id for lift in self.lifts)
            if whole or (named and all(stop in self.holding(robot) for robot in named)):
                return stop
        return None

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
        """Differs between hosts that do not know the same."""
        stops = sorted(self.stops.values(), key=_age)
        known = msgspec.msgpack.encode((stops, sorted(self.lifts, key=_content)))
        return hashlib.sha256(known).hexdigest()[:32]

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


def _joined(one: SiteStop, other: SiteStop) -> SiteStop:
    """Two forms of one stop: it holds all robots that either holds."""
    if one == other:
        return one
    names = tuple(sorted({*one.robots, *other.robots}))
    all_ = not one.robots or not other.robots or len(names) > MAX_NAMED
    first = min(one, other, key=lambda each: (each.at_s, each.by, each.why))
    return msgspec.structs.replace(first, robots=() if all_ else names)


def _bounded(stops: dict[str, SiteStop], lifts: frozenset[Lift]) -> SiteStops:
    """The stops in force, and the newest that are over."""
    ordered = sorted(stops.values(), key=_age)
    open_ = [stop for stop in ordered if not _is_over(stop, lifts)]
    over = [stop for stop in ordered if _is_over(stop, lifts)][-MAX_STOPS:]
    if len(open_) > MAX_STOPS:
        # Those without room are held by the last one that has some, which then holds all robots.
        last = open_[MAX_STOPS - 1]
        held = frozenset(lift for lift in lifts if lift.stop != last.id)
        open_ = [*open_[: MAX_STOPS - 1], msgspec.structs.replace(last, robots=())]
        lifts = held
    kept = {stop.id: stop for stop in (*over, *open_)}
    lifts = _distinct(lifts)
    known = [lift for lift in lifts if lift.stop in kept]
    early = sorted((lift for lift in lifts if lift.stop not in kept), key=_content)
    room = max(0, MAX_LIFTS - len(known))
    return SiteStops(kept, frozenset((*known, *early[:room])))


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

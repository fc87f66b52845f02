"""The stops of a site as messages, and how far a peer was told of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from ...transport import messages
from ...transport.arrays import Buffer
from ...transport.header import Header, Kind
from ...transport.limits import DEFAULT
from ...transport.stop_bodies import MAX_STOPS, HeldRobot, Lift, SiteStop, Stops
from .site_stops import SiteStops

_MOST_BYTES = DEFAULT.max_body_bytes - 4096
_MOST = {SiteStop: 2 * MAX_STOPS, Lift: 4 * MAX_STOPS, HeldRobot: 64}
_AT_ONCE = 2
"""Messages to one peer in a turn: its queue, of 4 or 8, has room for requests and replies too."""

Frames = list[Buffer]
Peer = TypeVar("Peer")
"""By what a process names its peers."""
Item = SiteStop | Lift | HeldRobot


def stop_messages(known: SiteStops, held: Iterable[HeldRobot]) -> Iterator[Stops]:
    """All that a host knows; each part can be lost, and come more than once, in any order.

    What is in force is first. A stop that is over comes with its lifts or after them, so that a
    host that knows neither does not hold for a moment.
    """
    yield from _packed(_groups(known))
    yield from _packed([row] for row in held)


def encoded(bodies: Iterable[Stops]) -> list[Frames]:
    """Their frames."""
    return [messages.encode(Header(Kind.STOPS), body) for body in bodies]


class StopPeer:
    """Another process, `name`: what it says that it knows of the stops (`knows`, a digest), when it
    was heard, and what it is still to be sent."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.knows = ""
        self.heard_ns = 0
        self.at_once_ns = -(1 << 62)
        """When it was last told at once, and not with the next turn."""
        self._told = ""
        """The digest of what it was sent, or is being sent."""
        self._known: deque[Frames] = deque()
        self._held: deque[Frames] = deque()

    def heard(self, digest: str, now_ns: int = 0) -> None:
        """Its heartbeat came. What was lost on the way is sent again, once all was sent."""
        self.knows, self.heard_ns = digest, now_ns
        if not self._known:
            self._told = ""

    def is_due(self, digest: str) -> bool:
        """Whether it is to be told what has this digest."""
        return digest not in (self.knows, self._told)

    def tell(self, digest: str, known: Sequence[Frames]) -> None:
        """Send it all that is known, instead of what it was still to be sent."""
        self._told, self._known = digest, deque(known)

    def tell_held(self, held: Sequence[Frames]) -> None:
        """The same of what became of the stops at robots."""
        self._held = deque(held)

    def turn(self, digest: str, send: Callable[[Frames], bool]) -> None:
        """Send what is due; what `send` refuses stays for the next turn."""
        if self.knows == digest:
            self._known.clear()
        for _ in range(_AT_ONCE):
            waiting = self._known or self._held
            if not waiting or not send(waiting[0]):
                return
            waiting.popleft()


def tell_peers(
    peers: Mapping[Peer, StopPeer],
    known: SiteStops,
    digest: str,
    held: Iterable[HeldRobot],
    send: Callable[[Peer, Frames], bool],
    *,
    is_new: bool,
) -> None:
    """Send what is due: `known`, with its digest, to those that know something else, and `held` to
    them too, or to all where it is new. What `send` refuses stays for the next turn."""
    due = [peer for peer in peers.values() if peer.is_due(digest)]
    if due:
        stops = encoded(stop_messages(known, ()))
        for peer in due:
            peer.tell(digest, stops)
    if due or is_new:
        rows = encoded(stop_messages(SiteStops(), held))
        for peer in peers.values() if is_new else due:
            peer.tell_held(rows)
    for name, peer in peers.items():
        peer.turn(digest, partial(send, name))


def _groups(known: SiteStops) -> Iterator[Sequence[Item]]:
    """In the order to be sent; a group is one message where its size allows that."""
    in_force = known.in_force()
    yield from ([stop] for stop in in_force)
    lifts: dict[str, list[Item]] = {stop: [] for stop in known.stops}
    early: list[Item] = []
    for lift in known.lifts:
        lifts.get(lift.stop, early).append(lift)
    for stop in in_force:
        yield from ([lift] for lift in lifts[stop.id])
    over = {id: stop for id, stop in known.stops.items() if stop not in in_force}
    for stop in sorted(over.values(), key=lambda stop: (stop.at_s, stop.id), reverse=True):
        yield [*lifts[stop.id], stop]
    yield from ([lift] for lift in early)


def _packed(groups: Iterable[Sequence[Item]]) -> Iterator[Stops]:
    """As few messages as hold them."""
    part = _Packed()
    for group in groups:
        if not part.has_room(group) and part.items:
            yield part.body
            part = _Packed()
        for item in group:
            if not part.has_room([item]) and part.items:
                yield part.body
                part = _Packed()
            part.add(item)
    if part.items:
        yield part.body


class _Packed:
    """One message that is being filled."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._bytes = 0

    def has_room(self, more: Sequence[Item]) -> bool:
        counts = Counter(type(item) for item in (*self.items, *more))
        few = all(count <= _MOST[kind] for kind, count in counts.items())
        return few and self._bytes + sum(map(_size, more)) <= _MOST_BYTES

    def add(self, item: Item) -> None:
        self.items.append(item)
        self._bytes += _size(item)

    @property
    def body(self) -> Stops:
        return Stops(
            stops=tuple(item for item in self.items if isinstance(item, SiteStop)),
            lifts=tuple(item for item in self.items if isinstance(item, Lift)),
            held=tuple(item for item in self.items if isinstance(item, HeldRobot)),
        )


def _size(item: Item) -> int:
    return len(msgspec.msgpack.encode(item))

"""The stops of a site as messages: each within the limits of a body, whatever they name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from ...transport.stop_bodies import HeldRobot, Stops
from .site_stops import SiteStops

_ROWS = 16


def stop_messages(known: SiteStops, held: Iterable[HeldRobot]) -> Iterator[Stops]:
    """All that a host knows; each part can be lost, and come more than once, in any order."""
    for stop in known.stops.values():
        yield Stops(stops=(stop,))
    for lift in known.lifts:
        yield Stops(lifts=(lift,))
    rows = iter(held)
    while some := tuple(itertools.islice(rows, _ROWS)):
        yield Stops(held=some)

"""A robot's `StopKeeper`, and stops of the site and lifts as programs and other hosts give them."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from holdfast.actors.driver.stop_keeper import StopKeeper
from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.site_stop_files import FOLDER
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.actors.runtime.site_stops import new_stop
from holdfast.transport.enrolment_tokens import issue, load_token
from holdfast.transport.keys import Key, PublicKey, Role
from holdfast.transport.keys import new as new_key
from holdfast.transport.stop_bodies import SiteStop

INSTANTS = itertools.count(1)


def keeper(state_dir: Path | None, keyring: Path | None = None, robot: str = "left") -> StopKeeper:
    return StopKeeper(robot, state_dir, keyring, logging.getLogger("test"))


def key_of(role: Role, keys: Path) -> Key:
    """A new one, whose public part is in `keys`."""
    if role is not Role.TOKEN:
        return new_key("owner", role, keys)
    broker = new_key("broker", Role.BROKER, keys)
    _, file = issue("r1", Role.ROBOT, keys, PublicKey(broker.peer, broker.public), expires_s=2**31)
    return load_token(file).key


def store_of(state: Path) -> SiteStopStore:
    """What a program that starts now knows."""
    store = SiteStopStore(state, None)
    store.look()
    return store


def site_stop(state: Path, robots: Iterable[str] = (), at_s: float = 1.0) -> SiteStop:
    """Given on another host, and written here by what heard of it."""
    stop = new_stop(robots, "anna@hub", "smoke", at_s)
    SiteStopStore(state, None).add([stop], [])
    return stop


def site_lift(state: Path, stop: SiteStop, key: Key | None = None) -> None:
    """Written here by any process, without asking whether it counts."""
    (lift,) = lifts_of([(stop.id, ())], "ben", key)
    SiteStopStore(state, None).add([], [lift])


def press(state: Path, robots: Iterable[str], at_s: float) -> SiteStop:
    """Stop them as a program does, with what it removes of the files."""
    store = store_of(state)
    stop = new_stop(robots, "anna", "", at_s)
    store.add([stop], [])
    store.settle()
    return stop


def lift_all(state: Path, robots: Iterable[str]) -> None:
    """Release them, or all, as a program does."""
    store = store_of(state)
    store.add([], lifts_of(store.stops.lifting(robots), "op", None))
    store.settle()


def aged(state: Path) -> None:
    """The folder changed so long ago that one reading of it is whole."""
    at_s = next(INSTANTS)
    os.utime(state / FOLDER, (at_s, at_s))

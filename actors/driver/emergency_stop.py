"""The emergency stop, as the command line, the page and programs use it.

Each robot's latch is engaged first: a file, which needs no live process. Then its driver is asked
by datagrams until its device has confirmed, for a bounded time. All robots at once. Only then are
the files waited for, for a bounded time, so that a power cut does not undo it: no robot moves on
while a disk is slow.
"""

from __future__ import annotations

import os
import pwd
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import RobotError
from ...transport.limits import DEFAULT
from ..runtime import durable
from ..runtime.robots_file import KnownRobot, KnownRobots
from ..runtime.suggestions import closest
from . import latch
from .asked_robots import AskedRobot, ask, begin_release, released, remove, stopped
from .stop_outcome import StopOutcome

if TYPE_CHECKING:
    from .site_request import SiteRequest

Guests = Callable[[KnownRobots], Sequence[KnownRobot]]
PATIENCE_S = 1.0
SETTLE_S = 3.0
"""How long a disk is waited for."""
SITE_PATIENCE = 3.0
"""How many times longer the robots of other hosts are waited for."""


def stop(
    fleets: Sequence[KnownRobots],
    names: Iterable[str] = (),
    *,
    by: str = "",
    why: str = "",
    here: bool = False,
    patience_s: float = PATIENCE_S,
    guests: Guests | None = None,
) -> list[StopOutcome]:
    """Stop the robots `names` of `fleets`, or all, and wait up to `patience_s` for their devices,
    three times as long for those of other hosts and of scripts, which are left alone if only those
    `here` are meant; the outcome of each. `by` is who does it, the user if it is empty. `guests`
    finds the robots of a fleet's scripts."""
    by, why, names = latch.encodable(by) or user(), latch.encodable(why), _encodable(names)
    until_s = time.monotonic() + SITE_PATIENCE * patience_s
    request = {"do": "estop", "by": by, "why": why}
    chosen, elsewhere = _choose(fleets, names, request)
    unknown = _unknown(fleets, names)
    spread = [] if here else [fleet for fleet, robots in elsewhere if robots or not names]
    _latch([robot for robot in chosen if robot.fleet not in spread], by, why)
    asked: list[SiteRequest] = []
    for fleet, robots in elsewhere:
        named = names if fleet in spread else unknown
        if not here and (named or not names):
            from .site_request import stop_site

            asked.append(stop_site(fleet, robots, named, by, why))
    # What holds for the whole site is a file of this host too, which its drivers find.
    unwritten = [one.fleet for one in asked if one.error and one.fleet in spread]
    _latch([robot for robot in chosen if robot.fleet in unwritten], by, why)
    ask(chosen, lambda answer: bool(answer.get("confirmed")), patience_s)
    _settle(chosen, asked)
    if unknown or not names:
        _add_guests(asked, names, guests)
    outcomes = [stopped(robot, by, patience_s) for robot in chosen]
    outcomes += _missing(names, fleets, asked)
    outcomes += [_whole(one) for one in asked if not (names or one.robots or one.fleet.robots)]
    return outcomes + [each for one in asked for each in _site_outcomes(one, until_s)]


def release(
    fleets: Sequence[KnownRobots],
    names: Iterable[str] = (),
    *,
    secret: str | None = None,
    patience_s: float = PATIENCE_S,
    guests: Guests | None = None,
) -> list[StopOutcome]:
    """Lift the stop of the robots `names` of `fleets`, or of all, on every host; `secret` is that
    of an operator's key, for a fleet with keys. `guests` as for `stop`."""
    names, until_s = _encodable(names), time.monotonic() + SITE_PATIENCE * patience_s
    request = {"do": "release", "key": secret}
    chosen, elsewhere = _choose(fleets, names, request)
    unknown = _unknown(fleets, names)
    begin_release(chosen)
    asked = [_lifted(fleet, robots, names, secret) for fleet, robots in elsewhere]
    ask(chosen, bool, patience_s)
    remove(chosen, secret)
    _settle(chosen, asked)
    if unknown or not names:
        _add_guests([one for one in asked if one.stops], names, guests)
    outcomes = [released(robot, patience_s) for robot in chosen]
    outcomes += _missing(names, fleets, asked)
    whole = [one for one in asked if not (names or one.robots or one.fleet.robots)]
    outcomes += [_whole(one) for one in whole if one.stops or one.error]
    return outcomes + [each for one in asked for each in _site_outcomes(one, until_s)]


def _settle(robots: Iterable[AskedRobot], asked: Sequence[SiteRequest]) -> None:
    """Wait for the disk, up to `SETTLE_S`; what is wrong with it is said of all robots whose files
    it has, of those too of this host that a stop of the site holds."""
    until_s = time.monotonic() + SETTLE_S
    by_folder: dict[Path, list[AskedRobot]] = {}
    for robot in robots:
        if not robot.error:
            by_folder.setdefault(robot.state_dir, []).append(robot)
    of_site = [(request, durable.Settling(request.settle)) for request in asked]
    of_latches = {
        folder: durable.Settling(partial(latch.settle, folder, [r.known.name for r in there]))
        for folder, there in by_folder.items()
    }
    for request, settling in of_site:
        request.unsettled = _unsettled(settling.fault(until_s))
    for folder, there in by_folder.items():
        faults = [_unsettled(of_latches[folder].fault(until_s))]
        faults += [request.unsettled for request in asked if request.state_dir == folder]
        for robot in there:
            robot.unsettled = next(filter(None, faults), "")


def _unsettled(fault: str) -> str:
    return f"a power cut may undo it ({fault})" if fault else ""


def user() -> str:
    """Who runs this process, for `by`."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have none
        name = f"user {os.getuid()}"
    return latch.encodable(f"{name}@{socket.gethostname()}")


def _latch(robots: Iterable[AskedRobot], by: str, why: str) -> None:
    for robot in robots:
        try:
            latch.engage(robot.state_dir, robot.known.name, by, why)
        except RobotError as error:
            robot.error, robot.request = str(error), {**robot.request, "unwritten": True}


def _unknown(fleets: Sequence[KnownRobots], names: Iterable[str]) -> tuple[str, ...]:
    """The names that the files do not have, but a robot of a script may."""
    known = {robot.name for fleet in fleets for robot in fleet.robots}
    return tuple(n for n in names if n not in known and len(n) <= DEFAULT.max_name_chars)


def _add_guests(asked: Iterable[SiteRequest], names: Sequence[str], guests: Guests | None) -> None:
    """The robots of scripts, which no file has: only after all is done, as a supervisor tells
    of them, and may hang."""
    if guests is None:
        return
    for request in asked:
        found = [robot for robot in guests(request.fleet) if not names or robot.name in names]
        request.robots = (*request.robots, *found)


def _missing(
    names: Sequence[str], fleets: Sequence[KnownRobots], asked: Sequence[SiteRequest]
) -> list[StopOutcome]:
    """What is done for the names of which no robot is known, not even of a script."""
    known = {robot.name for fleet in fleets for robot in fleet.robots}
    known |= {robot.name for request in asked for robot in request.robots}
    outcomes = []
    for name in dict.fromkeys(names):
        if name in known:
            continue
        done = dict.fromkeys(request.without_robot(name) for request in asked)
        near = closest(name, sorted(known)) if known else ""
        said = [f"no robot {name!r} is known now", near, *done]
        message = "" if "" in done else "; ".join(filter(None, said))
        there = ", ".join(fleet.fleet for fleet in fleets)
        outcomes.append(StopOutcome(robot=name, fleet=there, message=message))
    return outcomes


def _whole(request: SiteRequest) -> StopOutcome:
    """What became of the whole site, where no robot of it is known."""
    message = "; ".join(filter(None, [request.error, request.unsettled]))
    latched = request.lifted == bool(request.error)
    return StopOutcome(robot="", fleet=request.fleet.fleet, latched=latched, message=message)


def _encodable(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(latch.encodable(name) for name in names)


def _choose(
    fleets: Sequence[KnownRobots], names: Sequence[str], request: dict[str, Any]
) -> tuple[list[AskedRobot], list[tuple[KnownRobots, list[KnownRobot]]]]:
    """The robots of this machine that are meant, and by fleet those of other hosts."""
    chosen: list[AskedRobot] = []
    elsewhere: list[tuple[KnownRobots, list[KnownRobot]]] = []
    for known in fleets:
        meant = [robot for robot in known.robots if not names or robot.name in names]
        chosen += [AskedRobot(known, robot, request) for robot in meant if robot.wake]
        elsewhere.append((known, [robot for robot in meant if not robot.wake]))
    return chosen, elsewhere


def _lifted(
    fleet: KnownRobots, robots: Sequence[KnownRobot], names: Sequence[str], secret: str | None
) -> SiteRequest:
    """The stops of the site are lifted, if that may be."""
    from . import operator_key
    from .site_request import SiteRequest, lift_site

    keyring = None if fleet.keyring is None else Path(fleet.keyring)
    if keyring is None or operator_key.fits(keyring, secret):
        return lift_site(fleet, robots, names, user(), secret)
    named = ", ".join(names or [robot.name for robot in robots])
    error = operator_key.needed(named, keyring)
    return SiteRequest(fleet, robots, names, lifted=True, error=error)


def _site_outcomes(request: SiteRequest, until_s: float) -> list[StopOutcome]:
    """What became of the robots of other hosts; waits for it."""
    answers = request.answers(until_s)
    outcomes = []
    for robot in request.robots:
        row = answers.get(robot.name)
        message = request.message(robot, row)
        known = row is not None and request.knows(row)
        outcomes.append(
            StopOutcome(
                robot=robot.name,
                fleet=request.fleet.fleet,
                latched=row is not None and (row.latched or (known and not request.lifted)),
                confirmed=row is not None and row.confirmed,
                message=message,
            )
        )
    return outcomes

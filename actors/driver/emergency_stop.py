"""The emergency stop, as the command line, the page and programs use it.

Each robot's latch is engaged first: a file, which needs no live process. Then its driver is asked
by datagrams until its device has confirmed, for a bounded time. All robots at once. Only then are
the files waited for, so that a power cut does not undo it: no robot moves on while a disk is slow.
"""

from __future__ import annotations

import os
import pwd
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import RobotError
from ..runtime.robots_file import KnownRobot, KnownRobots
from ..runtime.suggestions import closest
from . import latch
from .asked_robots import AskedRobot, ask, released, stopped
from .stop_outcome import StopOutcome

if TYPE_CHECKING:
    from .site_request import SiteRequest

Guests = Callable[[KnownRobots], Sequence[KnownRobot]]
PATIENCE_S = 1.0
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
    chosen, elsewhere, outcomes = _choose(_with_guests(fleets, names, guests), names, request)
    asked: list[SiteRequest] = []
    for fleet, robots in elsewhere:
        if not here and (robots or not names):
            from .site_request import stop_site

            asked.append(stop_site(fleet, robots, names, by, why))
    # What holds for the whole site is a file of this host too, which its drivers find.
    written = [one.fleet for one in asked if not one.error]
    for robot in chosen:
        if robot.fleet in written:
            continue
        try:
            latch.engage(robot.state_dir, robot.known.name, by, why)
        except RobotError as error:
            robot.error = str(error)
    ask(chosen, lambda answer: bool(answer.get("confirmed")), patience_s)
    _settle([robot for robot in chosen if robot.fleet not in written], asked)
    if not names:
        _add_guests(asked, guests)
    outcomes = [stopped(robot, by, patience_s) for robot in chosen] + outcomes
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
    chosen, elsewhere, outcomes = _choose(_with_guests(fleets, names, guests), names, request)
    asked = [_lifted(fleet, robots, names, secret) for fleet, robots in elsewhere]
    ask(chosen, bool, patience_s)
    _settle(chosen, asked)
    if not names:
        _add_guests([one for one in asked if one.stops], guests)
    outcomes = [released(robot, secret, patience_s) for robot in chosen] + outcomes
    return outcomes + [each for one in asked for each in _site_outcomes(one, until_s)]


def _settle(latched: Sequence[AskedRobot], asked: Sequence[SiteRequest]) -> None:
    """Wait for the disk; what is wrong with it becomes the error of those whose files it has."""
    for request in asked:
        request.settle()
    for state_dir in {robot.state_dir for robot in latched}:
        there = [robot for robot in latched if robot.state_dir == state_dir and not robot.error]
        try:
            latch.settle(state_dir, [robot.known.name for robot in there])
        except RobotError as error:
            for robot in there:
                robot.error = str(error)


def user() -> str:
    """Who runs this process, for `by`."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have none
        name = f"user {os.getuid()}"
    return latch.encodable(f"{name}@{socket.gethostname()}")


def _with_guests(
    fleets: Sequence[KnownRobots], names: Sequence[str], guests: Guests | None
) -> Sequence[KnownRobots]:
    """With the robots of scripts, where a name is of none that the files have: a stop of others
    does not wait for a supervisor."""
    if guests is None or set(names) <= {robot.name for known in fleets for robot in known.robots}:
        return fleets
    return [
        msgspec.structs.replace(known, robots=(*known.robots, *guests(known))) for known in fleets
    ]


def _add_guests(asked: Iterable[SiteRequest], guests: Guests | None) -> None:
    if guests is not None:
        for request in asked:
            request.robots = (*request.robots, *guests(request.fleet))


def _encodable(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(latch.encodable(name) for name in names)


def _choose(
    fleets: Sequence[KnownRobots], names: Sequence[str], request: dict[str, Any]
) -> tuple[list[AskedRobot], list[tuple[KnownRobots, list[KnownRobot]]], list[StopOutcome]]:
    """The robots of this machine that are meant, by fleet those of other hosts, and an outcome
    for each that there is not."""
    chosen: list[AskedRobot] = []
    elsewhere: list[tuple[KnownRobots, list[KnownRobot]]] = []
    outcomes: list[StopOutcome] = []
    for known in fleets:
        others: list[KnownRobot] = []
        for robot in known.robots:
            if names and robot.name not in names:
                continue
            if robot.wake:
                chosen.append(AskedRobot(known, robot, request))
                continue
            others.append(robot)
        elsewhere.append((known, others))
    there = [robot.name for known in fleets for robot in known.robots]
    for name in dict.fromkeys(names):
        if name not in there:
            message = f"no robot {name!r}; {closest(name, there)}"
            outcomes.append(
                StopOutcome(robot=name, fleet=", ".join(k.fleet for k in fleets), message=message)
            )
    return chosen, elsewhere, outcomes


def _lifted(
    fleet: KnownRobots, robots: Sequence[KnownRobot], names: Sequence[str], secret: str | None
) -> SiteRequest:
    """The stops of the site are lifted, if that may be."""
    from . import operator_key
    from .site_request import SiteRequest, lift_site

    keyring = None if fleet.keyring is None else Path(fleet.keyring)
    if keyring is None or operator_key.fits(keyring, secret):
        return lift_site(fleet, robots, names, user(), secret)
    named = ", ".join(robot.name for robot in robots)
    return SiteRequest(fleet, robots, lifted=True, error=operator_key.needed(named, keyring))


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

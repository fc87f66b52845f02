"""The emergency stop, as the command line, the page and programs use it.

Each robot's latch is engaged first: a file, which needs no live process. Then its driver is told by
a datagram, and asked until its device has confirmed, for a bounded time. All robots at once.
"""

from __future__ import annotations

import os
import pwd
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import RobotError
from ..runtime.robots_file import KnownRobot, KnownRobots
from ..runtime.suggestions import closest
from . import latch

if TYPE_CHECKING:
    from .site_request import SiteRequest

PATIENCE_S = 1.0
SITE_PATIENCE = 3.0
"""How many times longer the robots of other hosts are waited for."""
ASK_AGAIN_S = 0.05
SILENT_S = 0.25
"""Without an answer, after which a driver is asked once more."""
MAX_ANSWER = 64 * 1024


class StopOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one robot. After a stop: `latched` whether it stays stopped, `confirmed`
    whether its device has said that it holds still. After a release: whether either is still so.
    `message` is empty if all was done that was asked for, else it says what was not, and why."""

    robot: str
    fleet: str
    latched: bool = False
    confirmed: bool = False
    by: str = ""
    message: str = ""

    @property
    def done(self) -> bool:
        return not self.message


class _Robot(msgspec.Struct):
    """One robot that is being stopped or released; `error` is why its latch was not engaged."""

    fleet: KnownRobots
    known: KnownRobot
    request: dict[str, Any]
    error: str = ""
    answer: dict[str, Any] | None = None
    absent: bool = False
    """Whether no process listens at its socket."""
    ask_s: float = 0.0

    @property
    def state_dir(self) -> Path:
        return Path(self.fleet.state_dir)


def stop(
    fleets: Sequence[KnownRobots],
    names: Iterable[str] = (),
    *,
    by: str = "",
    why: str = "",
    here: bool = False,
    patience_s: float = PATIENCE_S,
) -> list[StopOutcome]:
    """Stop the robots `names` of `fleets`, or all, and wait up to `patience_s` for their devices,
    three times as long for those of other hosts, which are left alone if only those `here` are
    meant; the outcome of each. `by` is who does it, the user if it is empty."""
    by, why, names = latch.encodable(by) or user(), latch.encodable(why), _encodable(names)
    until_s = time.monotonic() + SITE_PATIENCE * patience_s
    request = {"do": "estop", "by": by, "why": why}
    chosen, elsewhere, outcomes = _choose(fleets, names, request)
    asked: list[SiteRequest] = []
    for fleet, robots in elsewhere:
        if robots and not here:
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
    _ask(chosen, lambda answer: bool(answer.get("confirmed")), patience_s)
    outcomes = [_stopped(robot, by, patience_s) for robot in chosen] + outcomes
    return outcomes + [each for one in asked for each in _site_outcomes(one, until_s)]


def release(
    fleets: Sequence[KnownRobots],
    names: Iterable[str] = (),
    *,
    secret: str | None = None,
    patience_s: float = PATIENCE_S,
) -> list[StopOutcome]:
    """Lift the stop of the robots `names` of `fleets`, or of all, on every host; `secret` is that
    of an operator's key, for a fleet with keys."""
    names, until_s = _encodable(names), time.monotonic() + SITE_PATIENCE * patience_s
    chosen, elsewhere, outcomes = _choose(fleets, names, {"do": "release", "key": secret})
    asked = [_lifted(fleet, robots, names, secret) for fleet, robots in elsewhere]
    _ask(chosen, bool, patience_s)
    outcomes = [_released(robot, secret, patience_s) for robot in chosen] + outcomes
    return outcomes + [each for one in asked for each in _site_outcomes(one, until_s)]


def user() -> str:
    """Who runs this process, for `by`."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have none
        name = f"user {os.getuid()}"
    return latch.encodable(f"{name}@{socket.gethostname()}")


def _encodable(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(latch.encodable(name) for name in names)


def _choose(
    fleets: Sequence[KnownRobots], names: Sequence[str], request: dict[str, Any]
) -> tuple[list[_Robot], list[tuple[KnownRobots, list[KnownRobot]]], list[StopOutcome]]:
    """The robots of this machine that are meant, by fleet those of other hosts, and an outcome
    for each that there is not."""
    chosen: list[_Robot] = []
    elsewhere: list[tuple[KnownRobots, list[KnownRobot]]] = []
    outcomes: list[StopOutcome] = []
    for known in fleets:
        others: list[KnownRobot] = []
        for robot in known.robots:
            if names and robot.name not in names:
                continue
            if robot.wake:
                chosen.append(_Robot(known, robot, request))
                continue
            others.append(robot)
        elsewhere.append((known, others))
    everyone = [robot.name for known in fleets for robot in known.robots]
    for name in dict.fromkeys(names):
        if name not in everyone:
            message = f"no robot {name!r}; {closest(name, everyone)}"
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


def _ask(
    robots: Sequence[_Robot], settled: Callable[[dict[str, Any]], bool], patience_s: float
) -> None:
    """Ask the drivers until each has given an answer that is `settled`, or time is up."""
    deadline_s = time.monotonic() + patience_s
    by_path = {robot.known.wake: robot for robot in robots}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        # An abstract address, which the kernel chooses: nothing is left behind.
        asking.bind("")
        while True:
            now_s = time.monotonic()
            open_ = [robot for robot in robots if not (robot.answer and settled(robot.answer))]
            for robot in open_:
                if now_s >= robot.ask_s:
                    _send(asking, robot)
            if not open_ or now_s >= deadline_s:
                return
            due_s = min(deadline_s, *(robot.ask_s for robot in open_))
            select.select([asking], [], [], max(0.0, due_s - now_s))
            _receive(asking, by_path)


def _send(asking: socket.socket, robot: _Robot) -> None:
    robot.ask_s, robot.absent = time.monotonic() + SILENT_S, False
    try:
        asking.sendto(msgspec.msgpack.encode(robot.request), robot.known.wake)
    except BlockingIOError:
        robot.ask_s = time.monotonic() + ASK_AGAIN_S  # its queue is full: it stands still
    except OSError:
        # It may be about to start.
        robot.ask_s, robot.absent = time.monotonic() + ASK_AGAIN_S, True


def _receive(asking: socket.socket, by_path: dict[str, _Robot]) -> None:
    with suppress(BlockingIOError):
        while True:
            packet, sender = asking.recvfrom(MAX_ANSWER)
            robot = by_path.get(sender)
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                if robot is not None:
                    robot.answer = msgspec.msgpack.decode(packet, type=dict[str, Any])
                    robot.ask_s = time.monotonic() + ASK_AGAIN_S


def _stopped(robot: _Robot, by: str, patience_s: float) -> StopOutcome:
    answer = robot.answer or {}
    message = ""
    if not answer.get("confirmed"):
        if answer:
            message = f"the device has not confirmed it: {answer.get('error') or 'no reason given'}"
        elif robot.absent:
            message = "its driver is not running: the latch holds when it starts"
        else:
            message = (
                f"its driver did not answer within {patience_s:g} s: the latch holds as soon as it "
                "runs, and when it starts anew"
            )
    if robot.error:
        reached = "its driver" if answer.get("latched") else "nothing"
        message = "; ".join(filter(None, [f"{robot.error}: {reached} holds it", message]))
    return StopOutcome(
        robot=robot.known.name,
        fleet=robot.fleet.fleet,
        latched=not robot.error or bool(answer.get("latched")),
        confirmed=bool(answer.get("confirmed")),
        by=str(answer.get("by") or by),
        message=message,
    )


def _released(robot: _Robot, secret: str | None, patience_s: float) -> StopOutcome:
    name, answer = robot.known.name, robot.answer
    latched, message = False, ""
    if answer is not None:
        latched, message = bool(answer.get("latched")), str(answer.get("error") or "")
    elif robot.absent:
        message = _remove(robot, secret)
        latched = _is_held(robot)
    else:
        latched = _is_held(robot)
        message = f"its driver did not answer within {patience_s:g} s: try again"
    return StopOutcome(
        robot=name, fleet=robot.fleet.fleet, latched=latched, confirmed=latched, message=message
    )


def _is_held(robot: _Robot) -> bool:
    """Whether a file of this host holds it, its own or one of the site."""
    from ..runtime.site_stop_store import SiteStopStore

    store = SiteStopStore(robot.state_dir, None)
    store.look()
    own = latch.engaged(robot.state_dir, robot.known.name) is not None
    return own or bool(store.holding(robot.known.name))


def _remove(robot: _Robot, secret: str | None) -> str:
    """Remove the latch of a robot without a driver; why not, or empty."""
    keyring = robot.fleet.keyring
    if keyring is not None:
        from . import operator_key

        if not operator_key.fits(Path(keyring), secret):
            return operator_key.needed(robot.known.name, Path(keyring))
    try:
        latch.release(robot.state_dir, robot.known.name)
    except RobotError as error:
        return str(error)
    return ""

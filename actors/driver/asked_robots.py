"""Robots of this machine that are being stopped or released: their drivers are asked by datagrams,
all at once, until they have answered or time is up.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ...errors import RobotError
from ..runtime.robots_file import KnownRobot, KnownRobots
from . import latch
from .stop_outcome import StopOutcome

ASK_AGAIN_S = 0.05
SILENT_S = 0.25
"""Without an answer, after which a driver is asked once more."""
MAX_ANSWER = 64 * 1024


class AskedRobot(msgspec.Struct):
    """One robot that is being stopped or released; `error` is why its latch was not engaged, or
    not removed, and `unsettled` why a power cut may undo what was done, in words."""

    fleet: KnownRobots
    known: KnownRobot
    request: dict[str, Any]
    error: str = ""
    unsettled: str = ""
    begun: latch.Mark | None = None
    """Of its latch when its release began; None where that cannot be read."""
    answer: dict[str, Any] | None = None
    absent: bool = False
    """Whether no process listens at its socket."""
    ask_s: float = 0.0

    @property
    def state_dir(self) -> Path:
        return Path(self.fleet.state_dir)


def ask(
    robots: Sequence[AskedRobot], settled: Callable[[dict[str, Any]], bool], patience_s: float
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


def _send(asking: socket.socket, robot: AskedRobot) -> None:
    robot.ask_s, robot.absent = time.monotonic() + SILENT_S, False
    try:
        asking.sendto(msgspec.msgpack.encode(robot.request), robot.known.wake)
    except BlockingIOError:
        robot.ask_s = time.monotonic() + ASK_AGAIN_S  # its queue is full: it stands still
    except OSError:
        # It may be about to start.
        robot.ask_s, robot.absent = time.monotonic() + ASK_AGAIN_S, True


def _receive(asking: socket.socket, by_path: dict[str, AskedRobot]) -> None:
    with suppress(BlockingIOError):
        while True:
            packet, sender = asking.recvfrom(MAX_ANSWER)
            robot = by_path.get(sender)
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                if robot is not None:
                    robot.answer = msgspec.msgpack.decode(packet, type=dict[str, Any])
                    robot.ask_s = time.monotonic() + ASK_AGAIN_S


def stopped(robot: AskedRobot, by: str, patience_s: float) -> StopOutcome:
    """What became of a robot that was to be stopped, by `by`."""
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
    message = "; ".join(filter(None, [message, robot.unsettled]))
    return StopOutcome(
        robot=robot.known.name,
        fleet=robot.fleet.fleet,
        latched=not robot.error or bool(answer.get("latched")),
        confirmed=bool(answer.get("confirmed")),
        by=str(answer.get("by") or by),
        message=message,
    )


def begin_release(robots: Iterable[AskedRobot]) -> None:
    """Only stops that were given by now are lifted."""
    for robot in robots:
        with suppress(OSError):  # its driver may know better; without one it is not removed
            robot.begun = latch.mark(robot.state_dir, robot.known.name)
            robot.request = {**robot.request, "begun": robot.begun}


def remove(robots: Iterable[AskedRobot], secret: str | None) -> None:
    """Remove the latches of those without a driver, if the operator's `secret` fits; what keeps one
    there is its `error`."""
    for robot in robots:
        if robot.absent and robot.answer is None:
            robot.error = _remove(robot, secret)


def released(robot: AskedRobot, patience_s: float) -> StopOutcome:
    """What became of one that was to be released."""
    name, answer = robot.known.name, robot.answer
    latched, message = False, ""
    if answer is not None:
        latched, message = bool(answer.get("latched")), str(answer.get("error") or "")
    else:
        latched, message = _is_held(robot), robot.error
        if not robot.absent:
            message = f"its driver did not answer within {patience_s:g} s: try again"
        elif latched:
            message = message or "a stop that was given meanwhile holds it, or one of the site"
    message = "; ".join(filter(None, [message, robot.unsettled]))
    return StopOutcome(
        robot=name, fleet=robot.fleet.fleet, latched=latched, confirmed=latched, message=message
    )


def _is_held(robot: AskedRobot) -> bool:
    """Whether a file of this host holds it, its own or one of the site."""
    from ..runtime.site_stop_store import SiteStopStore

    store = SiteStopStore(robot.state_dir, None)
    store.look()
    own = latch.engaged(robot.state_dir, robot.known.name) is not None
    return own or bool(store.holding(robot.known.name))


def _remove(robot: AskedRobot, secret: str | None) -> str:
    """Remove the latch of a robot without a driver; why not, or empty."""
    keyring = robot.fleet.keyring
    if keyring is not None:
        from . import operator_key

        if not operator_key.fits(Path(keyring), secret):
            return operator_key.needed(robot.known.name, Path(keyring))
    try:
        if robot.begun is None:
            return f"its latch {latch.place(robot.state_dir, robot.known.name)} cannot be read"
        latch.release(robot.state_dir, robot.known.name, only=robot.begun)
    except RobotError as error:
        return str(error)
    return ""

"""What a driver says about its robot, before anything runs: its spec and the cameras it delivers.

A driver is asked in the interpreter that will run it, by a short-lived process, because it may
import what this process must not: `python -m holdfast.actors.driver.describe`. Its constructor
runs, which touches no hardware. Answers are kept for as long as the driver's file is unchanged.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ...errors import RobotError
from ...robot.base import Robot
from ..runtime import questions
from ..runtime.device_configs import SpecConfig
from . import resolve

_MODULE = "holdfast.actors.driver.describe"


class Description(msgspec.Struct, frozen=True):
    """A driver's `RobotSpec`, the names of the cameras whose frames it delivers, and which of
    `safe_stop` and `release` it has of its own."""

    spec: SpecConfig
    cameras: tuple[str, ...] = ()
    has_safe_stop: bool = True
    has_release: bool = True


class Asked(msgspec.Struct, frozen=True):
    """Which driver, as its robot's entry in the fleet file names it."""

    driver: str
    options: dict[str, Any] = {}
    import_path: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """Either a description, or why there is none."""

    description: Description | None = None
    error: str = ""


def describe(asked: Asked, python: str | None = None) -> Description:
    """What the driver says, in the interpreter `python` (None: this one). Raises RobotError for one
    that cannot be imported or made, with what its own code did."""
    if asked.driver == "sim":  # it touches nothing, and its options are typed
        from ...robot.sim import SPEC

        return Description(SpecConfig.of(SPEC), has_release=False)
    question = json.dumps(msgspec.to_builtins(asked), sort_keys=True).encode()
    stamp = questions.edited_ns(asked.driver, asked.import_path)
    said, otherwise = questions.ask(_MODULE, question, python, stamp)
    try:
        answer = msgspec.json.decode(said, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RobotError(otherwise) from None
    if answer.description is None:
        raise RobotError(answer.error)
    return answer.description


def has_own(robot: Robot | type[Robot], method: str) -> bool:
    """Whether `method` is the driver's, and not the default of `Robot`."""
    own = getattr(robot, method)
    return getattr(own, "__func__", own) is not getattr(Robot, method)


def respond(question: bytes) -> bytes:
    """The answer of this process."""
    asked = msgspec.json.decode(question, type=Asked)
    try:
        robot = resolve.create(asked.driver, asked.options, asked.import_path)
        description = Description(
            SpecConfig.of(robot.spec),
            tuple(robot.cameras),
            has_own(robot, "safe_stop"),
            has_own(robot, "release"),
        )
        answer = Answer(description)
    except RobotError as error:
        answer = Answer(error=str(error))
    return msgspec.json.encode(answer)


if __name__ == "__main__":
    questions.answer(respond)

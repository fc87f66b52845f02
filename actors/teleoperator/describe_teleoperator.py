"""Whether a teleoperator can be made and fits its robot, before anything runs: without opening it.

It is asked in the interpreter that will run it, by a short-lived process, because it may import
what this process must not: `python -m holdfast.actors.teleoperator.describe_teleoperator`. Answers
are kept for as long as the driver's file is unchanged.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import RobotError
from ..runtime import questions
from ..runtime.device_configs import SpecConfig
from . import make_teleoperator

_MODULE = "holdfast.actors.teleoperator.describe_teleoperator"


class AskedTeleoperator(msgspec.Struct, frozen=True):
    """Which teleoperator, as its entry in the fleet file names it, and its robot's spec."""

    driver: str
    options: dict[str, Any]
    rename: dict[str, str]
    spec: SpecConfig
    import_path: str | None = None


def why_not(asked: AskedTeleoperator, python: str | None = None) -> str:
    """Why it cannot be made in the interpreter `python` (None: this one), or why it does not fit
    the robot; empty if it can and does."""
    return questions.why_not(_MODULE, asked, asked.driver, asked.import_path, python)


def respond(question: bytes) -> bytes:
    """The answer of this process."""
    asked = msgspec.json.decode(question, type=AskedTeleoperator)
    try:
        make_teleoperator.create(
            asked.driver, asked.options, asked.spec.spec(), asked.import_path, asked.rename
        )
    except RobotError as error:
        return msgspec.json.encode(str(error))
    return msgspec.json.encode("")


if __name__ == "__main__":
    questions.answer(respond)

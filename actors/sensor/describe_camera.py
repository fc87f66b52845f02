"""Whether a camera can be made, before anything runs: without opening it.

It is asked in the interpreter that will run it, by a short-lived process, because it may import
what this process must not: `python -m holdfast.actors.sensor.describe_camera`. Answers are kept for
as long as the driver's file is unchanged.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import RobotError
from ..runtime import questions
from . import make_camera

_MODULE = "holdfast.actors.sensor.describe_camera"


class AskedCamera(msgspec.Struct, frozen=True):
    """Which camera, as its entry in the fleet file names it."""

    driver: str
    options: dict[str, Any]
    width: int
    height: int
    fps: float
    import_path: str | None = None


def why_not(asked: AskedCamera, python: str | None = None) -> str:
    """Why the camera cannot be made in the interpreter `python` (None: this one), with what its own
    code did; empty if it can."""
    return questions.why_not(_MODULE, asked, asked.driver, asked.import_path, python)


def respond(question: bytes) -> bytes:
    """The answer of this process."""
    asked = msgspec.json.decode(question, type=AskedCamera)
    try:
        make_camera.create(**msgspec.structs.asdict(asked))
    except RobotError as error:
        return msgspec.json.encode(str(error))
    return msgspec.json.encode("")


if __name__ == "__main__":
    questions.answer(respond)

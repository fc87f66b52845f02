"""What a driver says about its robot, before anything runs: its spec and the cameras it delivers.

A driver is asked in the interpreter that will run it, by a short-lived process, because it may
import what this process must not: `python -m holdfast.actors.driver.describe`. Its constructor
runs, which touches no hardware. Answers are kept for as long as the driver's file is unchanged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from ...errors import RobotError
from ..runtime.configs import SpecConfig
from ..runtime.interpreters import PATIENCE_S, explain
from . import resolve


class Description(msgspec.Struct, frozen=True):
    """A driver's `RobotSpec`, and the names of the cameras whose frames it delivers."""

    spec: SpecConfig
    cameras: tuple[str, ...] = ()


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

        return Description(SpecConfig.of(SPEC))
    packed = json.dumps(msgspec.to_builtins(asked), sort_keys=True)
    answer = _ask(packed, python or sys.executable, _edited_ns(asked))
    if answer.description is None:
        raise RobotError(answer.error)
    return answer.description


@lru_cache(maxsize=64)
def _ask(packed: str, python: str, _stamp: int) -> Answer:
    try:
        done = subprocess.run(
            [python, "-P", "-m", "holdfast.actors.driver.describe"],
            check=False,
            input=packed.encode(),
            capture_output=True,
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Answer(error=explain(python, error))
    try:
        return msgspec.json.decode(done.stdout, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Answer(error=explain(python, done))


def _edited_ns(asked: Asked) -> int:
    """When the user's module was edited last; 0 where there is none."""
    module = asked.driver.partition(":")[0].replace(".", "/")
    try:
        return (Path(asked.import_path or ".") / f"{module}.py").stat().st_mtime_ns
    except OSError:
        return 0


def main() -> int:
    """Answer the question on stdin, on stdout: what the driver prints goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    try:
        robot = resolve.create(asked.driver, asked.options, asked.import_path)
        answer = Answer(Description(SpecConfig.of(robot.spec), tuple(robot.cameras)))
    except RobotError as error:
        answer = Answer(error=str(error))
    os.write(out, msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a library's threads do not keep the answer waiting

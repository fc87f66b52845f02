"""Hand over to a driver's own calibration, at the terminal, in the driver's interpreter.

A driver has one if its class has a class or static method `calibrate`, or else if its module has a
function of that name. It is called with the `options` of fleet.yaml by name, instead of the
constructor, and asks a person for what it needs. It may cut the torque: only for a robot that
nothing drives. `python -m holdfast.actors.driver.calibration QUESTION` is how it is run.
"""

from __future__ import annotations

import inspect
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from ...errors import RobotError
from ..runtime.user_code import load
from .describe import Asked
from .resolve import BUILT_IN

NONE, FAILED, INTERRUPTED = 2, 1, 130
"""Exit status: the driver has no such procedure; it failed; a person ended it."""


def procedure(name: str, import_path: str | None = None) -> Callable[..., object]:
    """The calibration of the driver `name`. Raises RobotError when it has none."""
    make = load(name, BUILT_IN, import_path)
    found: Callable[..., object] | None = getattr(make, "calibrate", None)
    if found is None:
        found = getattr(sys.modules.get(make.__module__), "calibrate", None)
    if found is None or not callable(found):
        raise RobotError(
            f"the driver {name} has no calibration of its own: `calibrate(**options)`, a class or "
            "static method of its class or a function of its module"
        )
    if inspect.isclass(make) and inspect.isfunction(found) and _takes_an_instance(make):
        raise RobotError(
            f"{name}.calibrate is a method of an instance, expected a class or static method: it "
            "is called with `options` before anything is made"
        )
    return found


def _takes_an_instance(make: type) -> bool:
    own = inspect.getattr_static(make, "calibrate", None)
    return inspect.isfunction(own)


def command(asked: Asked, python: str | None) -> list[str]:
    """What runs the procedure in the interpreter `python` (None: this one)."""
    question = json.dumps(msgspec.to_builtins(asked))
    return [python or sys.executable, "-P", "-m", "holdfast.actors.driver.calibration", question]


def main(words: list[str]) -> int:
    """Run it; the exit status."""
    asked = msgspec.json.decode(words[0], type=Asked)
    options: dict[str, Any] = asked.options
    try:
        run = procedure(asked.driver, asked.import_path)
    except RobotError as error:
        sys.stderr.write(f"{error}\n")
        return NONE
    try:
        run(**options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except RobotError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    except Exception:  # noqa: BLE001  the procedure is the user's or a library's code
        traceback.print_exc()
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

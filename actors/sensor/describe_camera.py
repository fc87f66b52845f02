"""Whether a camera can be made, before anything runs: without opening it.

It is asked in the interpreter that will run it, by a short-lived process, because it may import
what this process must not: `python -m holdfast.actors.sensor.describe_camera`. Answers are kept for
as long as the driver's file is unchanged.
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
from ..runtime.interpreters import PATIENCE_S, explain
from . import make_camera


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
    packed = json.dumps(msgspec.to_builtins(asked), sort_keys=True)
    return _ask(packed, python or sys.executable, _edited_ns(asked))


@lru_cache(maxsize=64)
def _ask(packed: str, python: str, _stamp: int) -> str:
    try:
        done = subprocess.run(
            [python, "-P", "-m", "holdfast.actors.sensor.describe_camera"],
            check=False,
            input=packed.encode(),
            capture_output=True,
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return explain(python, error)
    try:
        return msgspec.json.decode(done.stdout, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return explain(python, done)


def _edited_ns(asked: AskedCamera) -> int:
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
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=AskedCamera)
    why = ""
    try:
        make_camera.create(**msgspec.structs.asdict(asked))
    except RobotError as error:
        why = str(error)
    os.write(out, msgspec.json.encode(why))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a library's threads do not keep the answer waiting

"""`LeRobotProcess`: drivers in an interpreter with LeRobot."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from holdfast.errors import RobotError


class LeRobotProcess:
    """A process of `called.py`: `call(verb, *arguments)` gives its result or raises its error."""

    def __init__(self, python: Path, path: str) -> None:
        self.python, self.path = python, path
        program = Path(__file__).with_name("called.py")
        self.process = subprocess.Popen(
            [python, "-P", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        )

    def call(self, verb: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RobotError(answer["error"])
        return answer.get("result")

    def exit(self) -> None:
        """It ends by itself, without a call of `close`."""
        assert self.process.stdin is not None
        self.process.stdin.write('["exit"]\n')
        self.process.stdin.close()
        self.process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                with suppress(BrokenPipeError):
                    pipe.close()

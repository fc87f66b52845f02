"""What a short-lived process finds out, as lines of JSON while it looks: the question on stdin, the
readings on stdout, and whatever foreign code prints on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar

import msgspec

from ...errors import RobotError

Question = TypeVar("Question")


def say(out: int, reading: msgspec.Struct) -> None:
    """Write `reading` as a line; nothing if there is no reader any more."""
    with suppress(BrokenPipeError):
        os.write(out, msgspec.json.encode(reading) + b"\n")


def answer_and_end(
    question: type[Question],
    look: Callable[[Question, int], None],
    failed: Callable[[str], msgspec.Struct],
) -> NoReturn:
    """Decode the question, call `look` with it and the descriptor for `say`, and end the process:
    with status 130 after Ctrl-C. A RobotError is said as the reading that `failed` makes of it."""
    out = os.dup(1)
    os.dup2(2, 1)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=question)
    code = 0
    try:
        look(asked, out)
    except RobotError as error:
        say(out, failed(str(error)))
    except KeyboardInterrupt:
        code = 130
    sys.stderr.flush()
    os._exit(code)  # a library's threads do not keep the answer waiting

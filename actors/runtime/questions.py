"""Questions about a user's code, each answered by a short-lived process of the interpreter that
will run it: it may import what this process must not.

A module that answers is run as a program: `python -m MODULE`, with the question on stdin and the
answer on stdout. Answers are kept for as long as their stamp stays the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from .interpreters import PATIENCE_S, explain


def ask(module: str, question: bytes, python: str | None, stamp: int = 0) -> tuple[bytes, str]:
    """What `module` answers to `question` in the interpreter `python` (None: this one), and what to
    say of it where that is no answer. `stamp` changes when another answer is to be expected."""
    return _ask(module, question, python or sys.executable, stamp)


@lru_cache(maxsize=256)
def _ask(module: str, question: bytes, python: str, _stamp: int) -> tuple[bytes, str]:
    try:
        done = subprocess.run(
            [python, "-P", "-m", module],
            check=False,
            input=question,
            capture_output=True,
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return b"", explain(python, error)
    return done.stdout, explain(python, done)


def edited_ns(place: str, import_path: str | None) -> int:
    """When the module of `place`, a `module:Class`, was edited last; 0 where there is no file."""
    module = place.partition(":")[0].replace(".", "/")
    try:
        return (Path(import_path or ".") / f"{module}.py").stat().st_mtime_ns
    except OSError:
        return 0


def answer(respond: Callable[[bytes], bytes]) -> NoReturn:
    """Answer the question on stdin, on stdout, and end the process: what the user's code prints
    goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)
    os.write(out, respond(sys.stdin.buffer.read()))
    sys.stderr.flush()
    os._exit(0)  # a library's threads do not keep the answer waiting

"""Questions about a user's code, each answered by a short-lived process of the interpreter that
will run it: it may import what this process must not.

A module that answers is run as a program: `python -m MODULE`, with the question on stdin and the
answer on stdout. Answers are kept for as long as their stamp stays the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from .interpreters import PATIENCE_S, explain
from .user_code import waits_in

IMPORT_S = 30.0
"""For a user's module, with what it imports from a cold disk."""
ANSWER_S = PATIENCE_S - 5.0
"""For the whole answer."""
_LATE = 75
"""Exit status of a process without an answer: the last line on stderr says what it waited for."""


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
    if done.returncode == _LATE:
        return b"", done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return done.stdout, explain(python, done)


def why_not(
    module: str, asked: msgspec.Struct, driver: str, import_path: str | None, python: str | None
) -> str:
    """Why what is `asked` about cannot be, as `module` answers it by a text; empty if it can.
    `driver` is the user's `module:Class`, whose last edit makes an answer old."""
    question = json.dumps(msgspec.to_builtins(asked), sort_keys=True).encode()
    said, otherwise = ask(module, question, python, edited_ns(driver, import_path))
    try:
        return msgspec.json.decode(said, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return otherwise


def edited_ns(place: str, import_path: str | None) -> int:
    """When the module of `place`, a `module:Class`, was edited last; 0 where there is no file."""
    module = place.partition(":")[0].replace(".", "/")
    try:
        return (Path(import_path or ".") / f"{module}.py").stat().st_mtime_ns
    except OSError:
        return 0


def answer(
    respond: Callable[[bytes], bytes], import_s: float = IMPORT_S, answer_s: float = ANSWER_S
) -> NoReturn:
    """Answer the question on stdin, on stdout, and end the process: what the user's code prints
    goes to stderr. Without an answer, say where the user's code waits: after `import_s` while it is
    imported, else after `answer_s`."""
    out = os.dup(1)
    os.dup2(2, 1)
    asked = threading.get_ident()
    threading.Thread(target=_watch, args=(asked, import_s, answer_s), daemon=True).start()
    os.write(out, respond(sys.stdin.buffer.read()))
    sys.stderr.flush()
    os._exit(0)  # a library's threads do not keep the answer waiting


def _frame(thread: int) -> FrameType | None:
    return sys._current_frames().get(thread)  # noqa: SLF001  there is no other way


def _watch(thread: int, import_s: float, answer_s: float) -> None:
    """End this process when `thread` has not, with what it waits for."""
    time.sleep(import_s)
    spent_s, where = import_s, waits_in(_frame(thread))
    if not where.startswith("importing"):
        time.sleep(answer_s - import_s)
        spent_s, where = answer_s, waits_in(_frame(thread))
    sys.stderr.write(f"{where or 'the answer'} did not end within {spent_s:g} s\n")
    sys.stderr.flush()
    os._exit(_LATE)

"""Other interpreters and virtual environments, in which an actor may run: whether they can.

Each is asked by a short-lived process, before anything starts.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

OLDEST = (3, 11)
PATIENCE_S = 60.0
"""For importing a driver's libraries from a cold disk."""

# An old Python, which does not know -P, shall say its version: the working directory is taken off
# the path here instead.
_QUESTION = """
import sys
sys.stdout.write("%d %d %d\\n" % sys.version_info[:3])
if "" in sys.path: sys.path.remove("")
import holdfast.actors.runtime.main
"""
_LACKS = (
    "import importlib.util, json, sys; "
    "print(json.dumps([m for m in sys.argv[1:] if importlib.util.find_spec(m) is None]))"
)


class Interpreter(NamedTuple):
    """One interpreter, as far as it was found out."""

    version: str
    """`3.12.1`; empty for a program that is no Python."""
    fault: str
    """Why no actor can run in it, with the remedy; empty if one can."""


@lru_cache(maxsize=64)
def examine(python: str) -> Interpreter:
    """What the interpreter at the path `python` is."""
    try:
        done = _run(python, "-c", _QUESTION)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Interpreter("", explain(python, error))
    version = done.stdout.decode("utf-8", "replace").split()
    if len(version) != 3 or not all(map(str.isdigit, version)):
        said = _last_line(done.stderr or done.stdout) or "nothing"
        fault = f"{python} is no Python interpreter: asked for its version, it said {said!r:.80}"
        return Interpreter("", fault)
    known = ".".join(version)
    if tuple(map(int, version)) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return Interpreter(known, f"{python} is Python {known}, expected {oldest} or newer")
    return Interpreter(known, explain(python, done) if done.returncode else "")


def unusable(python: str) -> str:
    """Why no actor can run in the interpreter `python`, a path; empty if one can."""
    return examine(python).fault


def lacks(python: str, modules: Iterable[str]) -> list[str]:
    """Those of `modules` that are not installed for the interpreter `python`, in which an actor can
    run. Nothing of them is imported."""
    try:
        done = _run(python, "-P", "-c", _LACKS, *modules)
        return list(json.loads(done.stdout))
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return list(modules)


def explain(python: str, what: subprocess.CompletedProcess[bytes] | Exception) -> str:
    """What became of asking `python`, in a sentence with the remedy."""
    if isinstance(what, subprocess.TimeoutExpired):
        return f"{python} did not answer within {what.timeout:g} s"
    if isinstance(what, Exception):
        reason = what.strerror if isinstance(what, OSError) else what
        return f"{python} cannot be run ({reason}); expected the path of a Python interpreter"
    last = _last_line(what.stderr) or f"exit status {what.returncode}"
    if "No module named 'holdfast" in last or "No module named holdfast" in last:
        return f"{python} has no holdfast: `{python} -m pip install {_installable()}`"
    if "ModuleNotFoundError" in last:
        return (
            f"{python} cannot import holdfast ({last}): `{python} -m pip install {_installable()}`"
        )
    return f"{python} failed: {last}"


def _run(python: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [python, *words],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
    )


def _last_line(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip().rpartition("\n")[2]


def _installable() -> str:
    """What pip installs this holdfast from: its source, where there is one."""
    root = Path(__file__).parents[2]
    return f"-e {root}" if (root / "pyproject.toml").exists() else "holdfast"

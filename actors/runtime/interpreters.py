"""Other interpreters and virtual environments, in which an actor may run: whether they can.

Each is asked by a short-lived process, before anything starts.
"""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path

OLDEST = (3, 11)
PATIENCE_S = 60.0
"""For importing a driver's libraries from a cold disk."""

_QUESTION = "import sys; print(*sys.version_info[:2]); import holdfast.actors.runtime.main"


@lru_cache(maxsize=64)
def unusable(python: str) -> str:
    """Why no actor can run in the interpreter `python`, a path; empty if one can."""
    try:
        done = subprocess.run(
            [python, "-P", "-c", _QUESTION],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return explain(python, error)
    return explain(python, done) if done.returncode else ""


def explain(python: str, what: subprocess.CompletedProcess[bytes] | Exception) -> str:
    """What became of asking `python`, in a sentence with the remedy."""
    if isinstance(what, subprocess.TimeoutExpired):
        return f"{python} did not answer within {what.timeout:g} s"
    if isinstance(what, Exception):
        reason = what.strerror if isinstance(what, OSError) else what
        return f"{python} cannot be run ({reason}); expected the path of a Python interpreter"
    said = what.stderr.decode("utf-8", "replace").strip()
    version = what.stdout.decode("utf-8", "replace").split()
    if len(version) == 2 and all(map(str.isdigit, version)) and _too_old(version):
        return f"{python} is Python {'.'.join(version)}, expected 3.{OLDEST[1]} or newer"
    last = said.rpartition("\n")[2] or f"exit status {what.returncode}"
    if "No module named 'holdfast" in last or "No module named holdfast" in last:
        return f"{python} has no holdfast: `{python} -m pip install {_installable()}`"
    if "ModuleNotFoundError" in last:
        return (
            f"{python} cannot import holdfast ({last}): `{python} -m pip install {_installable()}`"
        )
    return f"{python} failed: {last}"


def _too_old(version: list[str]) -> bool:
    return tuple(map(int, version)) < OLDEST


def _installable() -> str:
    """What pip installs this holdfast from: its source, where there is one."""
    root = Path(__file__).parents[2]
    return f"-e {root}" if (root / "pyproject.toml").exists() else "holdfast"


def same(python: str | None) -> bool:
    """Whether `python` is this process's own interpreter, or None."""
    return python is None or Path(python) == Path(sys.executable)

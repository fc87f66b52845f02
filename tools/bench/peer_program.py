"""`PeerProgram`: one of `peers/` in the interpreter that has the other project's packages."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from ...actors.runtime.interpreters import lacks

ROOT = Path(__file__).parents[2]


def interpreter(named: str | None, environment: str, module: str, option: str) -> str:
    """The interpreter that has `module`: `named` by the `option`, that of the `environment` which
    tests/peers/install makes, or this one. Raises ModuleNotFoundError, which says
    how to name one."""
    made = Path(os.environ.get("HOLDFAST_PEERS", ROOT / ".peers")) / environment / "bin/python"
    python = named or (str(made) if made.is_file() else sys.executable)
    there = python != sys.executable
    if lacks(python, [module]) if there else importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"{python} has no {module}: name one that has it by {option}")
    return python


def importable(folder: Path) -> str:
    """The PYTHONPATH by which another interpreter imports this holdfast."""
    folder.mkdir()
    (folder / "holdfast").symlink_to(ROOT, target_is_directory=True)
    return str(folder)


class PeerProgram:
    """A running program of `peers/`, which answers each line by milliseconds. Raises RuntimeError
    with its last words when it ends instead."""

    def __init__(self, python: str, name: str, path: str, *words: str) -> None:
        module = f"holdfast.tools.bench.peers.{name}"
        self._said = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 closed with the program
        self._process = subprocess.Popen(
            [python, "-P", "-m", module, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "HF_HUB_OFFLINE": "1",
                "OMP_NUM_THREADS": "1",
                "PYTHONUNBUFFERED": "1",
            },
        )

    def ready(self) -> None:
        """Wait until it has imported and loaded what it needs."""
        self._line()

    def once(self, word: str) -> float:
        """How long what `word` names took, in milliseconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(self._words())
        return line

    def _words(self) -> str:
        """The last that it said."""
        self._process.wait()
        self._said.seek(0)
        return self._said.read()[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

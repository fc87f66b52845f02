"""`Measured`: the rounds of one case, and the rows of figures that they make."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from .. import figures
from ..peer_program import ROOT
from .cases import Case

WHENCE = {"back_to_back": "", "apart": "-30ms"}
"""How requests follow each other, and what that adds to a case's name."""

_ROUND_S = 600.0


class Measured:
    """`why`: the reason for which there are no figures, if there are none. `failed`: whether it is
    that a round failed, and not that the peer is absent."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.why = ""
        self.failed = False
        self._rounds: list[dict[str, Any]] = []

    def add(self, run: Callable[[], dict[str, Any]]) -> None:
        """One more round. One that fails as a whole becomes the reason, and the earlier rounds do
        not count: single requests that fail are counted by a round."""
        try:
            self._rounds.append(run())
        except (RuntimeError, OSError, ValueError) as error:
            self.why, self.failed = str(error), True

    def rows(self) -> list[dict[str, Any]]:
        """One for requests back to back, one for those 30 ms apart."""
        return [self._row(whence, suffix) for whence, suffix in WHENCE.items()]

    def _row(self, whence: str, suffix: str) -> dict[str, Any]:
        about: dict[str, Any] = {
            "shown": self.case.shown,
            "processes": self.case.processes,
            "apart": whence == "apart",
        }
        name = self.case.name + suffix
        if self.why or not self._rounds:
            none = {"case": name, "n": 0, "unit": "ms", **about, "why": self.why or "not run"}
            return {**none, "failed": None} if self.failed else none
        every = [found[whence] for found in self._rounds]
        if count := sum(turn.get("failed", 0) for turn in every):
            about["failed"] = count
            about["why"] = next(turn["why"] for turn in reversed(every) if "why" in turn)
        turns = [turn for turn in every if turn["ms"]]
        everything = [value for turn in turns for value in turn["ms"]]
        row = figures.row(name, everything, "ms", **about, version=self._rounds[-1]["version"])
        if not turns:
            return {**row, "why": f"every request failed: {row.get('why', 'none was asked')}"}
        row["p50_quartiles"] = _quartiles([float(np.median(turn["ms"])) for turn in turns])
        row["cpu_ms_quartiles"] = _quartiles([turn["cpu_ms"] for turn in turns])
        row["p50"], row["cpu_ms"] = row["p50_quartiles"][1], row["cpu_ms_quartiles"][1]
        return row


def _quartiles(values: list[float]) -> list[float]:
    return [round(float(value), 4) for value in np.percentile(values, (25, 50, 75))]


def run_program(case: Case, python: str, place: Path, n: int, apart: int) -> dict[str, Any]:
    """What one round of the case's program found. Raises RuntimeError with what it said last."""
    program = program_of(case.program, python)
    argv = [*program.words, case.way, "-n", str(n), "--apart", str(apart)]
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,  # its end, that of this process, ends the program
            stdout=answer,
            stderr=said,
            cwd=place,
            env={**os.environ, **program.environment(place)},
            start_new_session=True,
        )
        try:
            process.wait(timeout=_ROUND_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it did not end within {_ROUND_S:g} s") from None
        finally:
            end_session(process)
        out, last = _text(answer), said_last(said)
    if process.returncode or not out:
        raise RuntimeError(f"{case.program} ended with {process.returncode}: {last}")
    found: dict[str, Any] = json.loads(out)
    return found


_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "RAY_raylet_start_wait_time_s": "120",  # 30, which a busy machine exceeds
    "RAY_USAGE_STATS_ENABLED": "0",
}


class Program(NamedTuple):
    """The `words` that start one of this folder's programs in another interpreter."""

    words: list[str]

    @staticmethod
    def environment(place: Path) -> dict[str, str]:
        """What it needs beside; `place` is a folder where holdfast is made importable."""
        imports = place / "imports"
        imports.mkdir(exist_ok=True)
        if not (link := imports / "holdfast").exists():
            link.symlink_to(ROOT, target_is_directory=True)
        # Its temporary files go with `place`, also when it is killed.
        return {**_ENVIRONMENT, "PYTHONPATH": str(imports), "TMPDIR": str(place)}


def program_of(name: str, python: str) -> Program:
    """The program `name` of this folder, for the interpreter `python`."""
    return Program([python, "-P", "-m", f"holdfast.tools.bench.peers.{name}"])


def said_last(file: IO[bytes]) -> str:
    """The last line of what a program wrote into `file`."""
    return (_text(file).splitlines() or ["without a word"])[-1]


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Nothing of its session goes on."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    process.stdin.close()

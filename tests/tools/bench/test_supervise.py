"""The benchmark of supervision runs, and says which peers it left out and how to get them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.tools.bench.supervise import KILLS, RULES


def test_a_full_run_kills_less_often_than_the_restart_limit() -> None:
    """Otherwise the supervisor would give the actor up in the middle."""
    assert RULES.max_restarts > KILLS


@pytest.mark.slow
def test_the_supervise_benchmark_runs_without_its_peers(tmp_path: Path) -> None:
    """It prints the command that installs each missing peer."""
    command = [sys.executable, "-m", "holdfast.tools.bench.supervise", "--quick", "--json"]
    command += ["--peers", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    rows = {row["case"]: row for row in json.loads(done.stdout)["rows"]}
    assert set(rows) == {"holdfast/kill-to-restart", "holdfast/idle-cpu-6-actors"}
    assert rows["holdfast/kill-to-restart"]["n"] == 3
    assert rows["holdfast/kill-to-restart"]["p50"] > 0
    assert done.stderr.count("pip install circus supervisor") == 2

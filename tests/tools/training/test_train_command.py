"""`python -m holdfast.tools.training.train` as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from holdfast.policy.checkpoint import read_config

COMMAND = [sys.executable, "-m", "holdfast.tools.training.train", "--config", "conveyor-act"]
SMALL = ["--shards", "1", "--batch", "2", "--workers", "1", "--eval", "0"]


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """The checkpoint of the moment is whole and the exit status 130; then it ends as it should."""
    metrics = tmp_path / "metrics.jsonl"
    endless = [*COMMAND, *SMALL, "--steps", "100000", "--out", str(tmp_path)]
    training = subprocess.Popen(endless, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while not (metrics.exists() and metrics.read_text().count("\n") >= 1):
            assert training.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        training.send_signal(signal.SIGINT)
        assert training.wait(timeout=30) == 130
    finally:
        training.kill()
        training.wait()
    at = read_config(tmp_path).training["at"]
    assert at >= 20
    again = [*COMMAND, *SMALL, "--steps", str(at + 25), "--out", str(tmp_path)]
    done = subprocess.run(again, capture_output=True, text=True, timeout=90, check=True)
    assert f"going on at step {at}" in done.stderr
    assert read_config(tmp_path).training["at"] == at + 25
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == sorted(set(steps)), "no step is logged twice"


def test_an_unknown_config_is_refused_with_what_there_is(tmp_path: Path) -> None:
    """Before anything is made."""
    out = tmp_path / "out"
    done = subprocess.run(
        [*COMMAND[:-1], "conveyor-flaw", "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "conveyor-flow" in done.stderr and not out.exists()

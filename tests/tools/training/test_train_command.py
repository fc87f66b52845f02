"""The command `holdfast-train`, which is also `python -m holdfast.tools.training`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from holdfast.policy.checkpoint import read_config
from holdfast.tests.waiting import wait_until
from holdfast.tools.training import train

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "holdfast.tools.training", "--config", "conveyor-act"]
SMALL = ["--shards", "1", "--batch", "2", "--workers", "1", "--eval", "0"]


@pytest.mark.parametrize("module", ["holdfast.tools.training", "holdfast.tools.training.train"])
def test_the_help_of_the_training_command_needs_no_torch(module: str) -> None:
    """`--help` lists the configs and imports no torch, under both names of the module."""
    script = (
        "import runpy, sys; sys.modules['torch'] = None; sys.argv[1:] = ['--help']\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "conveyor-flow" in done.stdout and "holdfast-train" in done.stdout


def test_a_training_without_torch_is_refused_with_the_extra_to_install(tmp_path: Path) -> None:
    """Nothing is made, the exit status is 1 and the message names the policy extra."""
    out = tmp_path / "out"
    script = (
        "import runpy, sys; sys.modules['torch'] = None\n"
        f"sys.argv[1:] = ['--config', 'conveyor-act', '--out', {str(out)!r}]\n"
        "runpy.run_module('holdfast.tools.training', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs torch" in done.stderr and "holdfast[policy]" in done.stderr
    assert not out.exists()


def test_the_console_script_is_the_training_command() -> None:
    """The entry point `holdfast-train` in pyproject loads the function that trains."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    entry = EntryPoint("holdfast-train", scripts["holdfast-train"], "console_scripts")
    assert entry.load() is train.command


@pytest.mark.slow
def test_a_training_that_is_interrupted_is_resumed_by_the_same_command(tmp_path: Path) -> None:
    """Ctrl-C leaves a checkpoint and status 130; the next run goes on, one of other steps not."""
    metrics = tmp_path / "metrics.jsonl"
    endless = [*COMMAND, *SMALL, "--out", str(tmp_path), "steps=100000"]

    def interrupted_after(least: int) -> str:
        training = subprocess.Popen(endless, stderr=subprocess.PIPE, text=True)
        try:

            def logged() -> bool:
                assert training.poll() is None, "the training ended by itself"
                return metrics.exists() and metrics.read_text().count("\n") > least

            wait_until(logged, "a line of metrics", within_s=300.0)
            training.send_signal(signal.SIGINT)
            said = training.communicate(timeout=240)[1]
            assert training.returncode == 130
            return said
        finally:
            training.kill()
            training.wait()

    said = interrupted_after(0)
    step = read_config(tmp_path).training["at"]
    assert step >= 20
    assert f"step {step} of 100000 is saved in {tmp_path}" in said
    assert f"going on at step {step}" in interrupted_after(step // 20)
    assert read_config(tmp_path).training["at"] > step
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == sorted(set(steps)), "no step is logged twice"
    other = [*COMMAND, *SMALL, "--out", str(tmp_path), "--steps", "9"]
    done = subprocess.run(other, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1
    assert "steps was 100000, is now 9" in " ".join(done.stderr.split())


def test_a_training_whose_output_is_no_longer_read_is_saved_at_its_end(tmp_path: Path) -> None:
    """As with `2>&1 | head`: status 0, and the checkpoint is that of the last step."""
    command = [*COMMAND, *SMALL, "--out", str(tmp_path), "steps=20"]
    training = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # a second one mostly waits, and is no faster
    )
    try:
        assert training.stderr is not None
        assert training.stderr.read(1)
        training.stderr.close()
        assert training.wait(timeout=240) == 0
    finally:
        training.kill()
        training.wait()
    assert read_config(tmp_path).training["at"] == 20


def test_an_unknown_config_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """The exit status is 2, the message lists the configs and no folder is made."""
    out = tmp_path / "out"
    command = [*COMMAND[:-1], "conveyor-flaw", "--out", str(out)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "conveyor-flow" in done.stderr and not out.exists()

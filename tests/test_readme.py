"""What the README tells people to type, typed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

pytestmark = pytest.mark.timeout(600)


def script(containing: str, directory: Path) -> Path:
    """The README's block that contains `containing`, as a file of the reader's."""
    (block,) = [b for b in BLOCKS if containing in b]
    path = directory / "example.py"
    path.write_text(block)
    return path


def test_every_example_is_short() -> None:
    """Three examples, each of fewer than 30 lines."""
    assert len(BLOCKS) == 3
    assert all(block.count("\n") < 30 for block in BLOCKS)


def test_the_two_lines_that_set_everything_up_are_there() -> None:
    """`.ci/run` finds the second by its shape, and pastes it into a fresh clone."""
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert [line.rpartition("/")[2] for line in lines] == [
        "supervisor start fleet.yaml",
        "pytest -n logical",
    ]


def test_the_example_of_a_fleet_in_a_script_runs(tmp_path: Path) -> None:
    """It prints a streaming robot and the size of a frame."""
    done = subprocess.run(
        [sys.executable, script("with Fleet", tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "r1 STREAMING" in done.stdout
    assert re.search(r"frame \d+ \(480, 640, 3\)", done.stdout)


def test_the_examples_of_serving_and_of_a_remote_policy_run_together(tmp_path: Path) -> None:
    """Both scripts at once, and the fleet whose broker brings them together."""
    (tmp_path / "fleet.yaml").write_text("name: lab\nservices: {}\nrobots: []\n")
    (tmp_path / "serving").mkdir()
    running: list[subprocess.Popen[str]] = []
    try:
        supervisor = Path(sys.executable).parent / "supervisor"
        running.append(
            subprocess.Popen(
                [supervisor, "start", tmp_path / "fleet.yaml"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        assert running[0].stdout is not None
        for line in running[0].stdout:
            if "broker" in line and "READY" in line:
                break
        serving = script("serve(predict", tmp_path / "serving")
        running.append(subprocess.Popen([sys.executable, serving], text=True))
        done = subprocess.run(
            [sys.executable, script("RemotePolicy(", tmp_path)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "STREAMING request latency" in done.stdout
        running[1].send_signal(signal.SIGINT)
        assert running[1].wait(120) == 0
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            finally:
                process.kill()
                process.wait()
                if process.stdout:
                    process.stdout.close()

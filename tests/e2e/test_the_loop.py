"""docs/the-loop.md: what it tells people to type, typed, with small numbers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.robot.dataset.dataset_reader import Dataset

ROOT = Path(__file__).parents[2]
COMMANDS = "\n".join(
    re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "the-loop.md").read_text(), re.DOTALL)
)


def small(text: str) -> str:
    """The same with one episode a robot, and trainings of two steps."""
    return re.sub(r"episodes: \d+", "episodes: 1", re.sub(r"steps=\d+", "steps=2", text))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_loop_runs_from_demonstrations_to_a_second_measurement(tmp_path: Path) -> None:
    """Each command of the page succeeds; the datasets and checkpoints are there afterwards."""
    pytest.importorskip("torch")
    shutil.copytree(ROOT / "examples" / "loop", tmp_path / "examples" / "loop")
    folder = tmp_path / "examples" / "loop"
    for file in folder.glob("*.yaml"):
        file.write_text(small(file.read_text()))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-e", "-c", small(COMMANDS)],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    finally:
        subprocess.run([Path(sys.executable).parent / "supervisor", "stop"], check=False)
    assert len(Dataset(folder / "data" / "demonstrations")) == 4  # two are corrections
    for run in ("first", "second"):
        assert len(Dataset(folder / "data" / f"measured-{run}")) == 2
        assert (folder / "runs" / run / "model.safetensors").is_file()

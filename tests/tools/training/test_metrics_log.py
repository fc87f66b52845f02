"""The metrics of a run, in its folder and elsewhere."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.tools.training.metrics_log import MetricsLog


def test_the_lines_of_steps_that_come_again_are_dropped(tmp_path: Path) -> None:
    """A run that resumes at step 40 after a kill writes each step once."""
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(tmp_path, 0) as log:
        for step in (20, 40, 60):
            log.write(step, {"loss": 1 / 3})
    assert json.loads(path.read_text().splitlines()[0]) == {"step": 20, "loss": 0.333333}
    path.write_text(path.read_text().replace(" ", "") + '{"step": 8')
    with MetricsLog(tmp_path, 40) as log:
        log.write(60, {"loss": 0.2})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [20, 40, 60]


def test_a_tracker_that_is_not_installed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the package, before anything is written."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="--track wandb: wandb is not installed; pip install wan"):
        MetricsLog(tmp_path, 0, ["wandb"])
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_tracker_gets_every_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B and TensorBoard get names, values and steps, and are closed at the end."""
    said: list[Any] = []

    class Board:
        def __init__(self, folder: str) -> None:
            said.append(Path(folder).name)

        def add_scalar(self, *given: Any) -> None:
            said.append(given)

        def close(self) -> None:
            said.append("closed")

    def init(**given: Any) -> Any:
        said.append(given["project"])
        return SimpleNamespace(
            log=lambda metrics, step: said.append((metrics, step)),
            finish=lambda: said.append("finished"),
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    tensorboard = SimpleNamespace(SummaryWriter=Board)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", tensorboard)
    with MetricsLog(tmp_path, 0, ["tensorboard", "wandb"]) as log:
        log.write(20, {"loss": 0.5})
    assert said == [
        "tensorboard",
        "holdfast",
        ("loss", 0.5, 20),
        ({"loss": 0.5}, 20),
        "closed",
        "finished",
    ]


def test_tensorboard_itself_reads_what_was_tracked(tmp_path: Path) -> None:
    """Its own reader finds each value at its step, where the package is installed."""
    pytest.importorskip("tensorboard", reason="needs tensorboard, which is not installed")
    reader = "tensorboard.backend.event_processing.event_accumulator"
    with MetricsLog(tmp_path, 0, ["tensorboard"]) as log:
        log.write(20, {"loss": 0.5})
        log.write(40, {"loss": 0.25})
    events = importlib.import_module(reader).EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (20, 0.5),
        (40, 0.25),
    ]


@pytest.mark.slow
def test_wandb_itself_tracks_without_a_network(tmp_path: Path) -> None:
    """With WANDB_MODE=offline a run of its own is in the folder, where the package is installed."""
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("needs wandb, which is not installed")
    script = (
        "from pathlib import Path\n"
        "from holdfast.tools.training.metrics_log import MetricsLog\n"
        f"with MetricsLog(Path({str(tmp_path)!r}), 0, ['wandb']) as log:\n"
        "    log.write(20, {'loss': 0.5})\n"
    )
    command, offline = [sys.executable, "-c", script], {**os.environ, "WANDB_MODE": "offline"}
    done = subprocess.run(command, env=offline, capture_output=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert run.stat().st_size > 0

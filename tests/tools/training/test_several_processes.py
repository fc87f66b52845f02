"""Training in several processes, as torchrun starts them: here two, with gloo on the CPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
import psutil
import pytest

from holdfast.policy.checkpoint import read_config, read_weights
from holdfast.tests.robot.dataset.recordings import dataset
from holdfast.tests.tools.training.small_trainings import SMALL_KEYS
from holdfast.tests.waiting import wait_until
from holdfast.tools.training.trained_policy import trained_policy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MODULE = ["-m", "holdfast.tools.training"]
ONE = [sys.executable, *MODULE]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *MODULE]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "pick"
    dataset(folder, lengths=(9, 13))
    return folder


KEYS = {
    "flow": SMALL_KEYS,
    "pi05_small": [
        *("network.vision.pixels=16", "network.vision.layers=1", "network.language.layers=2"),
        *("network.expert.layers=2", "steps=20", "batch=4", "chunk_size=8", "warmup_steps=2"),
    ],
}


def arguments(root: Path, out: Path, *keys: str, config: str = "flow") -> list[str]:
    where = ["--dataset", str(root), "--out", str(out), "--device", "cpu"]
    return [config, *where, *KEYS[config], *keys]


@contextmanager
def running(command: list[str], said: Path) -> Iterator[psutil.Popen]:
    """A command whose output is written to `said`; ended with its children."""
    with said.open("w") as file:
        process = _started(command, file)
    try:
        yield process
    finally:
        for each in (*_children(process), process):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()


def _started(command: list[str], file: IO[str]) -> psutil.Popen:
    return psutil.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=dict(os.environ))


def _children(process: psutil.Popen) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for_metrics(process: psutil.Popen, out: Path, said: Path, least: int = 1) -> None:
    """Wait until at least so many lines are logged."""
    path = out / "metrics.jsonl"

    def logged() -> bool:
        assert process.poll() is None, said.read_text()
        return path.exists() and path.read_text().count("\n") >= least

    wait_until(logged, f"{least} lines of metrics", within_s=300.0)


def metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("config", "kind", "keys"),
    [
        ("flow", "flow", ("looks=3",)),
        ("pi05_small", "pi05", ("looks=2",)),
        ("pi05_small", "pi05", ("looks=2", "recompute=true")),
    ],
)
def test_two_processes_train_as_one_does(
    config: str, kind: str, keys: tuple[str, ...], root: Path, tmp_path: Path
) -> None:
    """Losses, gradients and weights agree within float tolerance, and one process serves them."""
    keys = ("accumulate=2", *keys)
    for name, command in (("one", ONE), ("two", TWO)):
        whole = [*command, *arguments(root, tmp_path / name, *keys, config=config)]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert [row["step"] for row in two] == [20]
    for key in ("loss", "gradient_norm", "rate"):
        found = [row[key] for row in two]
        np.testing.assert_allclose(found, [row[key] for row in one], rtol=1e-3, err_msg=key)
    expected = read_weights(tmp_path / "one")
    weights = read_weights(tmp_path / "two")
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        own, wanted = (each.astype(np.float32) for each in (weights[name], value))
        np.testing.assert_allclose(own, wanted, atol=2e-3, err_msg=name)
    policy = trained_policy(kind, tmp_path / "two")
    (chunk,) = policy.predict_chunk([policy.spec.example()])
    assert np.isfinite(chunk.robot).all()


def test_what_two_processes_saved_at_ctrl_c_one_continues(root: Path, tmp_path: Path) -> None:
    """Ctrl-C ends both after the same step; one process goes on from there and says so."""
    out, said = tmp_path / "run", tmp_path / "said"
    endless = arguments(root, out, "steps=100000")
    with running([*TWO, *endless], said) as training:
        wait_for_metrics(training, out, said)
        training.send_signal(signal.SIGINT)
        training.wait(timeout=240)
    step = read_config(out).training["at"]
    assert step >= 20 and f"step {step} of 100000 is saved in" in " ".join(said.read_text().split())
    with running([*ONE, *endless], said) as training:
        wait_for_metrics(training, out, said, step // 20 + 1)
        training.send_signal(signal.SIGINT)
        assert training.wait(timeout=240) == 130
    assert f"going on at step {step}, until now on cpu, 2 processes" in said.read_text()
    assert read_config(out).training["at"] > step
    steps = [row["step"] for row in metrics(out)]
    assert steps == sorted(set(steps)), "no step is logged twice"


def test_the_death_of_one_process_ends_all_with_its_reason(root: Path, tmp_path: Path) -> None:
    """The status is not 0, the output names the process and the signal, and none is left."""
    out, said = tmp_path / "run", tmp_path / "said"
    with running([*TWO, *arguments(root, out, "steps=100000")], said) as training:
        wait_for_metrics(training, out, said)
        ranks = {each.environ().get("RANK"): each for each in _children(training)}
        victim = ranks["1"]
        victim.kill()
        assert training.wait(timeout=240) != 0
        wait_until(lambda: not any(map(_lives, ranks.values())), "none is left")
    assert f"SIGKILL) received by PID {victim.pid}" in said.read_text()

"""Small checkpoints of LeRobot's families, and the library itself in its own interpreter."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from holdfast.policy.base import Observation
from holdfast.tests.peers.environments import importable, interpreter_of

PROGRAM = Path(__file__).with_name("lerobot_program.py")

MakeCheckpoint = Callable[[str], Path]
Direct = Callable[[Path, Sequence[Observation]], NDArray[np.float32]]


@pytest.fixture(scope="session")
def lerobot() -> Path:
    """The interpreter with LeRobot."""
    return interpreter_of("lerobot-0.6")


@pytest.fixture(scope="session")
def lerobot_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """In which it imports the checkout under test, and downloads nothing."""
    path = importable(tmp_path_factory.mktemp("path"))
    return {"PYTHONPATH": str(path), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def checkpoint_of(lerobot: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """The checkpoint of a family, written by the library's own save_pretrained."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(family: str) -> Path:
        place = folder / family
        if not place.exists():
            subprocess.run([lerobot, "-P", PROGRAM, "make", family, place], check=True, timeout=180)
        return place

    return make


@pytest.fixture(scope="session")
def direct(lerobot: Path, tmp_path_factory: pytest.TempPathFactory) -> Direct:
    """What the library alone gives for a sequence of observations, each of batch size 1."""

    def ask(checkpoint: Path, given: Sequence[Observation]) -> NDArray[np.float32]:
        folder = tmp_path_factory.mktemp("direct")
        arrays: dict[str, Any] = {
            "seed": np.asarray([each.seed for each in given]),
            "task": np.asarray([each.task for each in given]),
            "observation.state": np.stack([each.state for each in given]),
        }
        for name in given[0].images:
            arrays[f"observation.images.{name}"] = np.stack([each.images[name] for each in given])
        np.savez(folder / "in.npz", **arrays)
        files = [checkpoint, folder / "in.npz", folder / "out.npy"]
        words: list[str | Path] = [lerobot, "-P", PROGRAM, "chunk", *files]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        subprocess.run(words, check=True, timeout=180, env=environment)
        made: NDArray[np.float32] = np.load(folder / "out.npy")
        return made

    return ask

"""The peers' environments that `tests/peers/install` makes: interpreters with another project's own
packages, and the path that lets them import the checkout under test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
"""The checkout under test."""

slow_run = False
"""Whether this run takes the time for other projects' packages; set from --slow."""


def peers() -> Path:
    """The folder of the environments: $HOLDFAST_PEERS, else .peers in the checkout."""
    return Path(os.environ.get("HOLDFAST_PEERS", ROOT / ".peers"))


def interpreter_of(name: str) -> Path:
    """The interpreter of the environment `name`. Skips the test where the environment is absent,
    and without --slow: to import another project's packages takes seconds in every process."""
    if not slow_run:
        pytest.skip(f"uses the environment {name}: run with --slow (.ci/run does)")
    place = peers() / name
    if not (place / "complete").is_file():
        pytest.skip(f"the environment {name} is absent: run tests/peers/install {name}")
    return place / "bin" / "python"


def importable(folder: Path) -> Path:
    """Make `folder` a place from which `holdfast` is imported, and return it: the value for
    PYTHONPATH in an interpreter where Holdfast is not installed."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "holdfast"
    if not link.exists():
        link.symlink_to(ROOT, target_is_directory=True)
    return folder

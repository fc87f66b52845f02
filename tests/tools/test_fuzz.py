"""The fuzzer's targets over their seeds and what is near them; the fuzzer itself where it is
installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.tools.fuzz_targets import TARGETS, mutations, pack, unpack

COUNT = {"fleet": 100}  # reading YAML takes a while
HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


@pytest.mark.parametrize("name", TARGETS)
def test_every_decoder_takes_its_seeds_and_what_is_near_them(name: str) -> None:
    """The same mutations in every run: a regression shows here first."""
    target = TARGETS[name]
    seeds = target.seeds()
    with target.make() as run:
        for data in (b"", *seeds, *mutations(seeds, COUNT.get(name, 1000), seed=1)):
            run(data)


def test_frames_survive_being_packed() -> None:
    frames = [b"", b"x" * 300, b"HFST"]
    assert unpack(pack(frames)) == frames


def test_a_target_that_fails_is_told_and_reproduced(tmp_path: Path) -> None:
    """By the exit status and the traceback, without atheris."""
    (tmp_path / "finding").write_bytes(b"HFST")
    words = ["--target", "header", "--reproduce", str(tmp_path / "finding")]
    done = fuzz(*words)
    assert done.returncode == 0, done.stderr
    assert "takes" in done.stdout


def test_without_atheris_it_says_what_to_install_and_with_it_it_runs(tmp_path: Path) -> None:
    done = fuzz("--seconds", "1", "--target", "header", "--corpus", str(tmp_path), cwd=tmp_path)
    if HAS_ATHERIS:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "header" / "seed-0").is_file()
    else:
        assert done.returncode == 2
        assert "pip install atheris" in done.stderr


def fuzz(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "holdfast.tools.fuzz", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60, check=False)

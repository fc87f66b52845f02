"""The fuzzer's targets over their seeds and what is near them; the fuzzer itself where it is
installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.tests.fuzz.framing import pack, unpack
from holdfast.tests.fuzz.fuzzer import main
from holdfast.tests.fuzz.targets import TARGETS, mutations

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
    """`unpack` is the inverse of `pack`, for empty and long frames too."""
    frames = [b"", b"x" * 300, b"HFST"]
    assert unpack(pack(frames)) == frames


def test_one_input_is_run_again_without_atheris(tmp_path: Path) -> None:
    """`--reproduce` needs a target, and exits with 0 where the decoder takes the input."""
    (tmp_path / "finding").write_bytes(b"HFST")
    done = fuzz("--target", "header", "--reproduce", str(tmp_path / "finding"))
    assert done.returncode == 0, done.stderr
    assert "takes" in done.stdout
    assert fuzz("--reproduce", str(tmp_path / "finding")).returncode == 2


def test_the_fuzzer_says_what_to_install_without_atheris(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 2, and the message has the command."""
    monkeypatch.setitem(sys.modules, "atheris", None)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--seconds", "1"])
    assert main() == 2
    assert "pip install atheris" in capsys.readouterr().err


@pytest.mark.skipif(not HAS_ATHERIS, reason="atheris is not installed")
def test_the_fuzzer_runs_for_its_time_and_keeps_the_corpus(tmp_path: Path) -> None:
    """The folder given as `--corpus` holds one for each target, with its seeds."""
    done = fuzz("--seconds", "1", "--target", "header", "--corpus", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "header" / "seed-0").is_file()


def fuzz(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "holdfast.tests.fuzz.fuzzer", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=90, check=False)

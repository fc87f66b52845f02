"""The directory of a script goes with the script, however that ends."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.actors.embedding.scratch import PREFIX, Scratch
from holdfast.actors.runtime.claim import RUNTIME
from holdfast.actors.runtime.runtime_dir import LOCK
from holdfast.tests.descriptors import open_descriptors

SCRIPT = """
import os, sys, time
from holdfast.actors.embedding.scratch import Scratch
scratch = Scratch()
(scratch.path / "socket").touch()
print(scratch.path, flush=True)
{end}
"""
ENDS = {
    "without closing": "",
    "closed": "scratch.close()",
    "by an exception": "raise SystemExit(3)",
    "in a forked child first": "pid = os.fork()\nif pid == 0: sys.exit()\nos.waitpid(pid, 0)\n"
    "assert (scratch.path / 'socket').exists()",
}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLDFAST_RUNTIME", str(tmp_path))
    return tmp_path


def script(end: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(end=end)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_ends_leaves_no_directory(base: Path, end: str) -> None:
    """However it ends but by a kill, with the directory closed or not."""
    process = script(ENDS[end])
    output, _ = process.communicate(timeout=60)
    assert output.startswith(str(base / PREFIX)) and process.returncode in (0, 3)
    assert list(base.iterdir()) == []


def test_the_directory_of_a_killed_script_is_removed_by_the_next_one(base: Path) -> None:
    """That of a script that runs stays."""
    scripts = [script("time.sleep(60)") for _ in range(2)]
    try:
        killed, living = (Path(s.stdout.readline().strip()) for s in scripts)  # type: ignore[union-attr]
        scripts[0].send_signal(signal.SIGKILL)
        scripts[0].wait()
        assert (killed / "socket").exists()
        own = Scratch()
        assert not killed.exists()
        assert (living / "socket").exists() and own.path.exists()
        own.close()
        own.close()
        assert [p for p in base.iterdir() if p != living] == []
    finally:
        for process in scripts:
            process.kill()
            process.communicate()


def test_a_directory_without_our_marker_is_not_removed(base: Path) -> None:
    """One that a person made, one whose owner is about to lock it, and a link stay."""
    mine, coming = base / f"{PREFIX}of-mine", base / f"{PREFIX}coming"
    for path in (mine, coming):
        path.mkdir()
        (path / "keep.py").write_text("the only copy")
    (coming / LOCK).touch()
    linked = base / f"{PREFIX}linked"
    linked.symlink_to(mine)
    Scratch().close()
    assert (mine / "keep.py").exists() and (coming / "keep.py").exists() and linked.is_symlink()


def test_a_directory_is_removed_with_its_last_reference(base: Path) -> None:
    """Its lock's descriptor is closed too."""
    before = open_descriptors()
    scratch = Scratch()
    path = scratch.path
    assert (path / RUNTIME.marker).exists() and path.stat().st_mode & 0o777 == 0o700
    assert not open_descriptors() <= before, "its lock is held"
    del scratch
    gc.collect()
    assert not path.exists()
    assert open_descriptors() <= before

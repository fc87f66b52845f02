"""What is left behind is found."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests import left_behind
from holdfast.tests.left_behind import MarkedProcesses, sockets_below
from holdfast.tests.run_mark import MARK


@pytest.fixture
def marked() -> Iterator[int]:
    """A process of this run."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def test_a_process_with_the_id_of_one_that_has_ended_is_looked_at(marked: int) -> None:
    """Of an id the process is remembered, not the number alone."""
    run = MarkedProcesses(os.environ[MARK])
    # As if another process had had its id.
    run.others = {(pid, inode + (int(pid) == marked)) for pid, inode in run.others}
    assert any(each.startswith(f"process {marked} ") for each in run.left())


def test_a_process_is_known_before_the_kernel_shows_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Popen has returned by then: no test has left behind what a fixture started before it."""
    run = MarkedProcesses(os.environ[MARK])
    read = left_behind._read
    looks: list[str] = []

    def early(path: str) -> bytes:
        if path == f"/proc/{process.pid}/environ":
            looks.append(path)
        return b"" if path.endswith("/environ") and len(looks) < 3 else read(path)

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        monkeypatch.setattr(left_behind, "_read", early)
        assert any(each.startswith(f"process {process.pid} ") for each in run.left())
        process.kill()
    assert len(looks) == 3


def test_a_process_that_was_there_before_is_not_looked_at(marked: int) -> None:
    """It is as old as the run itself."""
    run = MarkedProcesses(os.environ[MARK])
    assert not any(each.startswith(f"process {marked} ") for each in run.left())


def test_a_folder_that_may_not_be_read_hides_only_its_own_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are found."""
    (tmp_path / "shut").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
    scandir = os.scandir

    def refused(path: str) -> Any:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert sockets_below(tmp_path) == {f"socket {tmp_path}/s"}

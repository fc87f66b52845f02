"""Tests that run alone, and those that run side by side."""

from __future__ import annotations

import threading
from pathlib import Path

from holdfast.tests.machine_lock import held
from holdfast.tests.waiting import wait_until


def test_two_ordinary_tests_run_at_once(tmp_path: Path) -> None:
    """Neither waits for the other."""
    with held(tmp_path, alone=False), held(tmp_path, alone=False):
        pass


def test_a_test_that_is_alone_waits_for_those_that_run_and_is_not_overtaken(tmp_path: Path) -> None:
    """A later ordinary one comes after it."""
    ran: list[str] = []

    def run(name: str, *, alone: bool) -> None:
        with held(tmp_path, alone=alone):
            ran.append(name)

    def waits(thread: threading.Thread) -> None:
        """Until it stands at a lock: the kernel lists those that wait by an arrow."""
        before = waiting()
        thread.start()
        wait_until(lambda: waiting() > before, "the thread waits for a lock")

    first = threading.Thread(target=run, args=["alone"], kwargs={"alone": True})
    later = threading.Thread(target=run, args=["later"], kwargs={"alone": False})
    with held(tmp_path, alone=False):
        waits(first)
        waits(later)
        assert ran == []
    first.join()
    later.join()
    assert ran == ["alone", "later"]


def waiting() -> int:
    return sum("-> FLOCK" in line for line in Path("/proc/locks").read_text().splitlines())

"""Requests that go straight to a replica, while real processes die and hang."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path as Directory
from typing import Any

import msgspec
import pytest

from holdfast.tests.waiting import wait_until
from holdfast.tools.bench.bench_cameras import cameras
from holdfast.tools.bench.request_path import Path, Way

pytestmark = pytest.mark.slow

SLOTS_OF_TWO_SECONDS = 60


@pytest.fixture
def path(tmp_path: Directory) -> Iterator[Path]:
    """Cameras, a broker, two replicas and a network actor; control is in this process. The broker
    is asked too when no answer has come straight for a second. The rings keep two seconds of
    frames: a network actor that a busy machine lets wait loses none of those that it promised."""
    with cameras(tmp_path, slots=SLOTS_OF_TWO_SECONDS) as rings:
        path = Path(Way("test", shared=True, direct_late_s=1.0), tmp_path / "p", rings)
        try:
            other = msgspec.structs.replace(path.service, replica=1)
            path.start("inference", "bench/1", other, path.uses)
            until(path, lambda: replicas(path) == 2, "two replicas")
            yield path
        finally:
            path.close()


def until(path: Path, what: Callable[[], Any], why: str) -> None:
    """Ask until it is so: no request may fail."""

    def asked() -> bool:
        path.ask()
        return bool(what())

    wait_until(asked, why)


def replicas(path: Path) -> int:
    return int(path.started.status("broker").get("replica_count", 0))


def used_straight(path: Path) -> str:
    """The replica to which requests go straight; empty if they go by the broker."""
    status = path.started.status("r1/network")
    return str(status["replica"]) if status.get("direct") else ""


def count(path: Path) -> int:
    """How many requests the broker knows to have been answered so."""
    return int(path.started.status("broker").get("counters", {}).get("direct", 0))


def served_straight(path: Path, replica: str) -> None:
    """Requests go straight to that replica, and the broker learns how many."""
    until(path, lambda: used_straight(path) == replica, f"requests to go straight to {replica}")
    before = count(path)
    until(path, lambda: count(path) > before, "the broker's count of them")


def test_no_request_fails_whichever_process_dies_or_hangs(path: Path) -> None:
    """Also the one under way is answered; the next go straight to the replica that is left."""
    broker, pids = path.started.pid("broker"), {n: path.started.pid(f"bench/{n}") for n in (0, 1)}
    served_straight(path, "bench/0")
    epoch = path.started.status("r1/network")["epoch"]  # more than 1 if a replica came late
    os.kill(broker, signal.SIGSTOP)
    try:
        for _ in range(3):
            path.ask()
    finally:
        os.kill(broker, signal.SIGCONT)
    served_straight(path, "bench/0")
    assert path.started.status("r1/network")["epoch"] == epoch, "the session was not lost"
    os.kill(pids[0], signal.SIGSTOP)
    served_straight(path, "bench/1")
    os.kill(pids[0], signal.SIGCONT)
    until(path, lambda: replicas(path) == 2, "the replica that woke up")
    os.kill(pids[1], signal.SIGKILL)
    served_straight(path, "bench/0")

"""The cleanup process: what it does after a supervisor was killed, and when it dies itself."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from holdfast.actors.runtime.runtime_dir import runtime_base
from holdfast.actors.runtime.spec import Rules
from holdfast.actors.supervision.cleanup_process import CleanupLink
from holdfast.tests.misbehaving.harness import Supervised, actor, child, exists
from holdfast.tests.waiting import wait_until


def _asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_killed_supervisor_leaves_no_process_after_3_s(
    tmp_path: Path,
) -> None:
    """Actors that are stopped, hung or ignore SIGTERM are gone, and so is the directory."""
    note = tmp_path / "pids"
    kinds = ["Steady", "IgnoresSigterm", "Steady", "HangAfterReady"]
    patient = Rules(hang_timeout_s=60)
    actors = [actor(f"a{i}", kind, patient) for i, kind in enumerate(kinds)]
    actors.append(actor("g", "LeavesGrandchildren", patient, note=str(note)))
    with Supervised(*actors) as fleet:
        for i in range(len(kinds)):
            fleet.reach(f"a{i}", "READY")
        wait_until(lambda: note.exists() and len(note.read_text().split()) == 2)
        pids = [row["pid"] for row in fleet.status()["actors"]]
        in_group = int(note.read_text().split()[0])
        os.kill(fleet.row("a2")["pid"], signal.SIGSTOP)
        fleet.process.kill()
        wait_until(lambda: not any(exists(pid) for pid in [*pids, in_group]))
        hidden = int(note.read_text().split()[1])
        os.kill(hidden, signal.SIGKILL)
        wait_until(lambda: not (runtime_base() / fleet.name).exists())


def test_a_fleet_starts_again_right_after_its_supervisor_was_killed() -> None:
    """The new supervisor waits until the old one's actors are gone."""
    with Supervised(actor("a", "IgnoresSigterm")) as fleet:
        pid = fleet.reach("a", "READY")["pid"]
        fleet.process.kill()
        fleet.process.wait()
        with Supervised(actor("a")) as again:
            assert not exists(pid)
            again.reach("a", "READY")


def test_a_killed_cleanup_process_is_replaced_and_still_cleans_up(tmp_path: Path) -> None:
    """Its successor ends the actors of a killed supervisor."""
    with Supervised(actor("a", "IgnoresSigterm", Rules(hang_timeout_s=60))) as fleet:
        pid = fleet.reach("a", "READY")["pid"]
        cleanup = _cleanup_process(fleet)
        os.kill(cleanup, signal.SIGKILL)
        wait_until(lambda: child(fleet, b"cleanup_process") not in (cleanup, 0))
        fleet.process.kill()
        wait_until(lambda: not exists(pid))


def test_a_frozen_cleanup_process_is_replaced_and_releases_its_lock() -> None:
    """Its successor ends the actors and removes the directory."""
    with Supervised(actor("a", "IgnoresSigterm", Rules(hang_timeout_s=60))) as fleet:
        pid = fleet.reach("a", "READY")["pid"]
        cleanup = _cleanup_process(fleet)
        wait_until(lambda: _asleep(cleanup))
        os.kill(cleanup, signal.SIGSTOP)
        wait_until(
            lambda: child(fleet, b"cleanup_process") not in (cleanup, 0),
            "not replaced",
        )
        wait_until(lambda: not exists(cleanup))
        fleet.process.kill()
        wait_until(lambda: not exists(pid))
        wait_until(lambda: not (runtime_base() / fleet.name).exists())


def _cleanup_process(fleet: Supervised) -> int:
    """Its pid. Never 0, which `os.kill` would take for this process's own group."""
    return wait_until(lambda: child(fleet, b"cleanup_process"), "a cleanup process")


def test_a_cleanup_process_that_does_not_read_blocks_no_sender() -> None:
    """More messages than the socket holds are queued and arrive in order once it reads."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = CleanupLink(ours)
    for pid in range(1, 2001):
        link.forget(pid)
    received: list[int] = []
    theirs.setblocking(False)
    deadline_s = time.monotonic() + 60
    while len(received) < 2000 and time.monotonic() < deadline_s:
        link.flush()
        try:
            received.append(int(theirs.recv(64)[1:]))
        except BlockingIOError:
            continue
    assert received == list(range(1, 2001))
    link.close()
    theirs.close()

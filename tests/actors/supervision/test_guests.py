"""Which robots of scripts a supervisor tells of, and how long one that hangs is waited for."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.actors.runtime.robots_file import KnownRobot, KnownRobots
from holdfast.actors.runtime.runtime_dir import SOCKET, running
from holdfast.actors.supervision import guests as module
from holdfast.actors.supervision.guests import guests

FLEET = KnownRobots(fleet="cell", state_dir="", robots=(KnownRobot("r1", "r1.driver"),))
ROWS = [
    {"name": "r1", "where": "here", "stoppable": True},
    {"name": "bench", "where": "script on desk", "stoppable": True},
    {"name": "openpi/1", "where": "client", "stoppable": False},
]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime directory of the fleet."""
    monkeypatch.setenv("HOLDFAST_RUNTIME", str(tmp_path))
    made = tmp_path / "cell"
    made.mkdir()
    return made


@pytest.fixture
def supervisor(directory: Path) -> Iterator[socket.socket]:
    """Its socket; nothing is accepted yet."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / SOCKET))
        listener.listen(0)
        listener.settimeout(60)
        yield listener


def test_the_robots_that_no_file_has_are_those_of_scripts(supervisor: socket.socket) -> None:
    """And of clients; with where they run. The others are left out."""

    def answer() -> None:
        client, _ = supervisor.accept()
        with client:
            client.recv(1 << 16)
            status = {"site": {"robots": ROWS}}
            client.sendall(json.dumps({"ok": True, "status": status}).encode() + b"\n")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    found = guests(FLEET)
    thread.join(60)
    client = KnownRobot("openpi/1", host="client", is_client=True)
    assert found == [KnownRobot("bench", host="script on desk"), client]


@pytest.mark.usefixtures("directory")
def test_without_a_supervisor_there_are_none() -> None:
    """The list is empty at once: no supervisor is waited for."""
    assert guests(FLEET) == [] and running() == {}


def test_a_supervisor_that_hangs_is_waited_for_half_a_second(
    supervisor: socket.socket, directory: Path
) -> None:
    """Also if its queue of connections is full, where `connect` blocks: it counts as running."""
    waiting: list[socket.socket] = []
    try:
        with pytest.raises(BlockingIOError):
            while True:
                waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                waiting[-1].setblocking(False)
                waiting[-1].connect(str(directory / SOCKET))
        found: list[object] = []
        asking = threading.Thread(target=lambda: found.extend([guests(FLEET), running()]))
        asking.daemon = True
        began_s = time.monotonic()
        asking.start()
        asking.join(60)
        assert found == [[], {"cell": directory}]
        assert time.monotonic() - began_s >= module.PATIENCE_S
    finally:
        for each in waiting:
            each.close()

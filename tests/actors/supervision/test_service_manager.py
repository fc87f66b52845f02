"""What a supervisor tells systemd, by a socket of the test's in systemd's place."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.supervision.service_manager import ServiceManager
from holdfast.tests.waiting import wait_until

HEALTHY = {"healthy": True, "actors": [], "robots": []}
FAILED: dict[str, Any] = {
    "healthy": False,
    "actors": [
        {
            "name": "r1/network",
            "kind": "network",
            "state": "FAILED",
            "reason": "no broker",
            "waits_for": "",
            "last_exit": None,
            "last_error": None,
            "call": "",
            "report": None,
        }
    ],
    "robots": [],
}


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.lines: list[str] = []

    def read(self) -> list[str]:
        """All lines so far."""
        while True:
            try:
                self.lines += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.lines


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@holdfast-{os.getpid()}"


@pytest.fixture
def systemd(address: str) -> Iterator[Systemd]:
    listening = Systemd(address)
    yield listening
    listening.socket.close()


def test_the_first_report_says_ready_and_later_ones_only_what_is_new(
    systemd: Systemd, address: str
) -> None:
    """And the status in words, once for each change."""
    manager = ServiceManager({"NOTIFY_SOCKET": address})
    manager.report(HEALTHY, stopping=False)
    manager.report(HEALTHY, stopping=False)
    assert systemd.read() == ["READY=1", "STATUS=healthy"]
    manager.report(FAILED, stopping=False)
    (line,) = systemd.read()[2:]
    assert line.startswith("STATUS=not healthy: r1/network")
    manager.report(HEALTHY, stopping=True)
    assert systemd.read()[3:] == ["STOPPING=1", "STATUS=healthy"]
    manager.close()


def test_the_watchdog_is_fed_by_reports_alone(systemd: Systemd, address: str) -> None:
    """A loop that hangs makes none, and sends nothing."""
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "40000"}
    manager = ServiceManager(environment)
    assert environment == {}

    def fed() -> bool:
        manager.report(HEALTHY, stopping=False)
        return systemd.read().count("WATCHDOG=1") > 3

    wait_until(fed, "the watchdog is fed again and again")
    count = len(systemd.read())
    assert len(systemd.read()) == count
    manager.close()


def test_the_watchdog_is_fed_while_the_status_is_another_at_every_report(
    systemd: Systemd, address: str
) -> None:
    """A reason may count seconds: the messages about it are none about the loop."""
    manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "800000"})
    reasons = itertools.count()

    def fed() -> bool:
        (row,) = FAILED["actors"]
        reason = f"silent for {next(reasons)} s"
        manager.report(FAILED | {"actors": [row | {"reason": reason}]}, stopping=False)
        return systemd.read().count("WATCHDOG=1") > 1

    wait_until(fed, "the watchdog is fed again and again")
    manager.close()


def test_a_watchdog_of_another_process_is_not_fed(systemd: Systemd, address: str) -> None:
    """WATCHDOG_PID names the process that the timeout is about."""
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
    manager = ServiceManager(environment)
    for _ in range(3):
        manager.report(HEALTHY, stopping=False)
    assert "WATCHDOG=1" not in systemd.read()
    manager.close()


def test_a_service_manager_that_is_gone_hinders_nothing(tmp_path: Path) -> None:
    """Nothing listens at the address."""
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "none"), "WATCHDOG_USEC": "1"})
    manager.report(HEALTHY, stopping=False)
    manager.close()


def test_a_supervisor_tells_systemd_that_it_runs_and_that_it_stops(tmp_path: Path) -> None:
    """As a unit of Type=notify starts it; no actor inherits the socket's address."""
    systemd = Systemd(str(tmp_path / "notify"))
    file = tmp_path / "fleet.yaml"
    file.write_text("name: notified\ngateway: {enabled: false}\n")
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "10000000",
    }
    process = subprocess.Popen(
        [Path(sys.executable).parent / "supervisor", "start", file],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: "STATUS=healthy" in systemd.read(), "the fleet is healthy", 60)
        wait_until(lambda: {"READY=1", "WATCHDOG=1"} <= set(systemd.read()), "the watchdog is fed")
        done = subprocess.run(
            [Path(sys.executable).parent / "actorctl", "status", "--json", "--fleet", "notified"],
            capture_output=True,
            text=True,
            check=True,
        )
        (broker,) = json.loads(done.stdout)["actors"]
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{broker['pid']}/environ").read_bytes()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "STOPPING=1" in systemd.read()
    finally:
        process.kill()
        process.wait()
        systemd.socket.close()

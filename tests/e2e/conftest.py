"""A whole fleet, started as a user starts it and watched through what a user has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from holdfast.actors.gateway.address import one_click
from holdfast.actors.runtime.runtime_dir import SOCKET
from holdfast.actors.supervision.control_socket import ask
from holdfast.errors import ControlSocketError
from holdfast.tests.waiting import wait_until

BIN = Path(sys.executable).parent
DEFAULT = Path(__file__).parents[2] / "fleet.yaml"


class FleetProcess:
    """`supervisor start` in a process of its own."""

    def __init__(
        self,
        fleet: Path,
        directory: Path,
        *options: str,
        inside: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        """`inside` is a command that runs another elsewhere, `environment` added to ours."""
        self.report_path = directory / "report.json"
        self.directory = directory
        self.file = fleet
        start = [str(BIN / "supervisor"), "start", str(fleet)]
        start += ["--report", str(self.report_path), *options]
        self.command: list[str] = [*inside, *start]
        self.environment = {**os.environ, **(environment or {})}
        self.runtime = Path(self.environment["HOLDFAST_RUNTIME"])
        self.output = (directory / "output.txt").open("w+")
        self.again()

    def again(self) -> None:
        """Start the same once more."""
        self.process = subprocess.Popen(
            self.command,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def actorctl(
        self, *words: str, inside: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """What a user types in a second terminal, without arguments about where the fleet is."""
        return subprocess.run(
            [*inside, BIN / "actorctl", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """The report so far; empty as long as no fleet answers."""
        done = self.actorctl("status", "--json")
        return dict(json.loads(done.stdout)) if done.stdout.startswith("{") else {}

    @property
    def control_socket(self) -> Path:
        name = yaml.safe_load(self.file.read_text()).get("name", "fleet")
        return self.runtime / str(name) / SOCKET

    def asked(self) -> dict[str, Any]:
        """`status` by the control socket: a tenth of the command's cost, for what asks often."""
        try:
            return dict(ask(self.control_socket, do="status")["status"])
        except ControlSocketError:
            return {}

    def page(self, path: str) -> tuple[int, str]:
        """What the gateway answers to a process of this user, without the token."""
        address = one_click(self.control_socket.parent)
        assert address is not None
        try:
            with urllib.request.urlopen(address.partition("#")[0] + path, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def actor(self, name: str) -> dict[str, Any]:
        return row(self.status()["actors"], name)

    def wait_for(self, what: Callable[[dict[str, Any]], object], within_s: float) -> dict[str, Any]:
        """The first status that satisfies `what`."""
        last: dict[str, Any] = {}

        def satisfied() -> bool:
            nonlocal last
            last = self.asked()
            assert self.process.poll() is None, f"the fleet ended:\n{self.said()}"
            return bool(last and what(last))

        try:
            wait_until(satisfied, within_s=within_s, every_s=0.1)
        except AssertionError as error:
            shown = json.dumps(last, indent=1)[:6000]
            raise AssertionError(f"{error}; status: {shown}\nsaid: {self.said()}") from None
        return last

    def streaming(self, within_s: float = 120.0) -> dict[str, Any]:
        """Wait until every actor is READY and every robot STREAMING."""
        return self.wait_for(all_well, within_s)

    def pids(self) -> dict[str, int]:
        """By actor name, of those that run."""
        return {a["name"]: a["pid"] for a in self.status()["actors"] if a["pid"]}

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def wait(self, within_s: float) -> int:
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {within_s} s:\n{self.said()}")

    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.report_path.read_text()))

    def said(self) -> str:
        return Path(self.output.name).read_text()[-6000:]

    def end(self) -> None:
        """Whatever the test did: end everything by pid."""
        if self.process.poll() is None:
            below = psutil.Process(self.process.pid).children(recursive=True)
            self.process.terminate()
            try:
                self.process.wait(8)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
            for process in below:
                if process.is_running():
                    process.kill()
        self.output.close()


def row(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The row of a status's `actors` or `robots` that is called `name`."""
    return next(row for row in rows if row["name"] == name)


StartFleet = Callable[..., FleetProcess]
Gone = Callable[[dict[str, int], float], None]


def all_well(status: dict[str, Any]) -> bool:
    """Every actor READY, every robot STREAMING."""
    return all(a["state"] == "READY" for a in status["actors"]) and all(
        r["state"] == "STREAMING" for r in status["robots"]
    )


def without_a_stall(ticks: int) -> Callable[[dict[str, Any]], bool]:
    """Whether every robot has gone on for so many ticks without a stalled one, at any time since
    this was called first. What stalls robots by a fault does it again within them; a machine that
    others use does it now and then."""
    since: dict[str, tuple[int, int]] = {}

    def gone_on(robot: dict[str, Any]) -> bool:
        begun, stalled = since.setdefault(robot["name"], (robot["ticks"], robot["stalled_ticks"]))
        if robot["stalled_ticks"] != stalled:
            since[robot["name"]] = robot["ticks"], robot["stalled_ticks"]
        return bool(robot["stalled_ticks"] == stalled and robot["ticks"] >= begun + ticks)

    def all_gone_on(status: dict[str, Any]) -> bool:
        each = {robot["name"]: gone_on(robot) for robot in status["robots"]}
        return all(each.values())

    return all_gone_on


@pytest.fixture
def start_fleet(tmp_path: Path) -> Iterator[StartFleet]:
    """Start the default fleet, or another file, with options of `supervisor start`."""
    started: list[FleetProcess] = []

    def start(*options: str, fleet: Path = DEFAULT, **how: Any) -> FleetProcess:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(FleetProcess(fleet, directory, *options, **how))
        return started[-1]

    yield start
    for fleet in started:
        fleet.end()


@pytest.fixture
def light(tmp_path: Path) -> Path:
    """The default fleet with a policy that needs no torch and small cameras, for what is about
    neither."""
    text = DEFAULT.read_text()
    for usual, cheap, times in (
        ("policy: flow ", "policy: constant ", 1),
        ("{width: 640, height: 480, fps: 30}", "{width: 64, height: 48, fps: 15}", 4),
    ):
        assert text.count(usual) == times
        text = text.replace(usual, cheap)
    file = tmp_path / "light.yaml"
    file.write_text(text)
    return file


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Start a script in a process of its own, in the environment of the fleet."""
    running: list[subprocess.Popen[bytes]] = []

    def start(text: str) -> None:
        path = tmp_path / f"script{len(running)}.py"
        path.write_text(text)
        running.append(subprocess.Popen([sys.executable, path], stderr=subprocess.DEVNULL))

    yield start
    for process in reversed(running):
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def gone() -> Gone:
    """Assert that processes, by name, end within so many seconds."""

    def check(pids: dict[str, int], within_s: float) -> None:
        wait_until(lambda: not any(map(_alive, pids.values())), f"{pids} end", within_s)

    return check


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def runtime() -> Path:
    """Where the runtime directories of this run's fleets are."""
    return Path(os.environ["HOLDFAST_RUNTIME"])

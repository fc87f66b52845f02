"""Real fleets that clients of openpi and GR00T connect to, and raw clients."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from websockets.sync.client import ClientConnection, connect

from holdfast import Fleet
from holdfast.actors.clients.msgpack_arrays import pack, unpack
from holdfast.actors.runtime.runtime_dir import SOCKET, runtime_base
from holdfast.actors.supervision import control_socket
from holdfast.tests.free_ports import free_port
from holdfast.tests.peers.environments import interpreter_of
from holdfast.tests.waiting import wait_until


def observation(value: float = 0.0) -> dict[str, Any]:
    """One for the shipped policies, in openpi's keys, whose state is this everywhere: the constant
    policy's actions are then this value too."""
    return {
        "observation/overhead_image": np.zeros((96, 128, 3), np.uint8),
        "observation/wrist_image": np.zeros((120, 160, 3), np.uint8),
        "observation/state": np.full(7, value),
        "prompt": "put the red parcel into the left bin",
    }


def at_200_hz(count: int) -> Iterator[int]:
    """The numbers from 0, each at its instant, 5 ms apart, or at once where that is past."""
    began_s = time.monotonic()
    for n in range(count):
        time.sleep(max(0.0, began_s + n / 200 - time.monotonic()))
        yield n


class Served:
    """A running fleet with a port for clients of one kind."""

    def __init__(self, fleet: Fleet, port: int, folder: Path, kind: str) -> None:
        self.fleet, self.port, self.folder, self.kind = fleet, port, folder, kind
        self.kills = 0
        """By the tests."""

    def connect(self, **options: Any) -> ClientConnection:
        """A raw connection, before its first message."""
        url = f"ws://127.0.0.1:{self.port}"
        made: ClientConnection = connect(
            url, compression=None, max_size=None, open_timeout=60, **options
        )
        return made

    def infer(self, client: ClientConnection, value: float = 0.0) -> Any:
        """The answer to an observation."""
        client.send(pack(observation(value)))
        answer = client.recv(60.0)
        assert isinstance(answer, bytes), answer
        return unpack(answer)

    def report(self, actor: str) -> dict[str, Any]:
        rows = self.fleet.status()["actors"]
        found: dict[str, Any] = next(row["report"] for row in rows if row["name"] == actor)
        return found

    def sessions(self) -> set[str]:
        """The names of the clients that have a session."""
        rows = self.report("broker")["sessions"]
        return {row["robot"] for row in rows if row["robot"].startswith(f"{self.kind}/")}

    def without_clients(self) -> None:
        """Wait until no client is connected, and none has a session."""

        def idle() -> bool:
            return not self.sessions() and self.report(self.kind)["clients"] == 0

        wait_until(idle, "the clients' sessions to end", 60, 0.1)

    def gone_in_inference(self) -> int:
        """How many clients the port saw leave before they had their chunk, by its latest report."""
        return int(self.report(self.kind)["counters"].get("gone-in-inference", 0))

    def leave_in_inference(self, ask_and_leave: Callable[[], None]) -> None:
        """Repeat until the port counts a client that left before it had its chunk: one that sees
        its session late has its chunk already."""

        def counted() -> bool:
            ask_and_leave()
            self.without_clients()
            return self.gone_in_inference() > before

        before = self.gone_in_inference()
        wait_until(counted, "the port's count of a client that left in mid inference", 120)

    def survives(self, actor: str, ask: Callable[[Callable[[], None]], bool]) -> None:
        """Of several deaths of `actor` a client notices one by nothing but a longer answer: the
        port waits 10 s for a chunk, and a busy machine may take longer for a restart. `ask(kill)`
        calls `kill` between two requests, and says whether the second was answered too."""

        def kill() -> None:
            pid = next(r["pid"] for r in self.fleet.status()["actors"] if r["name"] == actor)
            os.kill(pid, signal.SIGKILL)
            self.kills += 1

        def unnoticed() -> bool:
            answered = ask(kill)
            self.fleet.wait(300.0)
            return answered

        wait_until(unnoticed, f"a death of {actor} that no client notices", 240.0)

    def undisturbed_by(self, visit: Callable[[], None]) -> None:
        """Of several bursts of 600 visits, 200 a second, there is one at none of whose steps the
        robot stalls: what disturbs it would do so in each, a machine that pauses now and then does
        not."""

        def streamed() -> bool:
            before = self.fleet.wait(60.0)["robots"][0]
            for _ in at_200_hz(600):
                visit()
            after = self.fleet.wait(60.0)["robots"][0]
            return bool(after["stalled_ticks"] == before["stalled_ticks"])

        wait_until(streamed, "a burst without a stalled step", 120.0)

    def log(self) -> str:
        """The fleet's log so far."""
        socket = runtime_base() / self.fleet.name / SOCKET
        return Path(control_socket.ask(socket, do="places")["log"]).read_text()

    def run(self, script: str, *arguments: str) -> str:
        """What a program prints that has the clients of other projects, unmodified."""
        program = self.folder / "client.py"
        program.write_text(script)
        command = [str(interpreter_of(self.kind)), str(program), str(self.port), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout


def serve(
    folder: Path,
    values: dict[str, Any],
    kind: str = "openpi",
    port: int | None = None,
    **entry: Any,
) -> Iterator[Served]:
    """A fleet of these values, with such an entry for the clients of this kind of the service
    pick."""
    port = port or free_port()
    gateway = {"enabled": False, kind: {"port": port, "service": "pick", **entry}}
    file = folder / "fleet.yaml"
    # A spare that gets ready late would be a process that a test has left behind. On a machine that
    # pauses, an actor is late and does not hang.
    patient = {"hang_timeout_s": 60.0, "start_timeout_s": 300.0}
    supervision = {"spares": 0, "policy_spare": False, "rules": {"all": patient}}
    whole = {"gateway": gateway, "supervision": supervision, **values}
    file.write_text(yaml.safe_dump(whole, sort_keys=False))
    with Fleet(file) as fleet:
        fleet.wait(300.0)
        served = Served(fleet, port, folder, kind)
        yield served
        # Whatever clients did, no actor died of it.
        counts = {row["name"]: row["restarts"] for row in fleet.status()["actors"]}
        assert sum(counts.values()) == served.kills, counts


SHARED: dict[str, Any] = {
    "services": {"pick": {"policy": "constant", "checkpoint": "conveyor-flow", "max_sessions": 40}},
    "robots": [
        {
            "name": "r1",
            "service": "pick",
            "cameras": {name: {"width": 128, "height": 96} for name in ("overhead", "wrist")},
        }
    ],
}
"""A service that a robot of the fleet uses beside the clients."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A robot and openpi's clients use one service."""
    values = {"name": "opt", **SHARED}
    yield from serve(tmp_path_factory.mktemp("served"), values, metadata={"reset_pose": [0.5]})


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One place, a chunk takes half a second, an API key is needed, RoboArena's metadata are
    sent."""
    pick = {
        "policy": "constant",
        "checkpoint": "conveyor-flow",
        "max_sessions": 1,
        "max_batch": 1,  # the warm-up runs each size several times
        "options": {"delay_s": 0.5},
    }
    folder = tmp_path_factory.mktemp("slow")
    (folder / "openpi.key").write_text("s3cret\n")
    yield from serve(
        folder,
        {"name": "ops", "services": {"pick": pick}},
        api_key="openpi.key",
        dialect="roboarena",
    )


@pytest.fixture(scope="module")
def groot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A robot and GR00T's clients use one service."""
    yield from serve(tmp_path_factory.mktemp("port"), {"name": "grt", **SHARED}, kind="groot")

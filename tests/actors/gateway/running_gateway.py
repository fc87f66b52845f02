"""A gateway actor in this process, and a page's stream of its events."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.gateway import address
from holdfast.actors.gateway.gateway import GatewayActor
from holdfast.actors.runtime import robots_file
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.robots_file import KnownRobot, KnownRobots
from holdfast.tests.waiting import wait_until
from holdfast.transport.frame_ring import FrameRing

SHAPE = (48, 64, 3)
TAGS = {"r1": {"site": "bonn"}}
CAMERAS = {"r1/overhead": "r1/overhead", "r1/wrist": "r1/wrist"}


def list_robot(rundir: Path) -> Path:
    """Say in `rundir` that the fleet has a robot r1 on this machine and a robot r9 on another; the
    directory of its latches."""
    robots = (KnownRobot("r1", str(rundir / "r1.driver")), KnownRobot("r9", host="gpu1"))
    state_dir = rundir / "state"
    robots_file.write(KnownRobots(fleet="cell", state_dir=str(state_dir), robots=robots), rundir)
    return state_dir


class Gateway:
    """A running gateway actor and a client of it."""

    def __init__(self, rundir: Path, incarnation: int = 1, **config: Any) -> None:
        segments = {name: FrameRing.size_for(SHAPE) for name in CAMERAS.values()}
        boot, link, self.supervisor = boot_in_memory(
            "gateway",
            "gateway",
            {"port": 0, "cameras": CAMERAS, "tags": TAGS, **config},
            segments,
            incarnation=incarnation,
            rundir=rundir,
        )
        self._link = link
        self.rundir = rundir
        self.rings = {camera: boot.memory[name] for camera, name in CAMERAS.items()}
        self.actor = GatewayActor(boot, link)
        self.code: int | None = None
        self.received: list[object] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._up() or self.code is not None, "the gateway is up")

    def _up(self) -> bool:
        self.received += self.supervisor.messages()[0]
        return any(hasattr(message, "info") for message in self.received)

    def _run(self) -> None:
        self.code = self.actor.main()

    @property
    def url(self) -> str:
        found = address.one_click(self.rundir)
        assert found is not None
        return found

    @property
    def port(self) -> int:
        return int(self.url.partition("/#")[0].rpartition(":")[2])

    @property
    def token(self) -> str:
        return self.url.partition("#")[2]

    def request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def get(self, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        return self.request("GET", path, {**self.bearer, **headers})

    def post(
        self, path: str, token: str | None = None, body: bytes | None = None
    ) -> tuple[int, dict[str, Any]]:
        authorization = f"Bearer {self.token if token is None else token}"
        status, _, answer = self.request("POST", path, {"authorization": authorization}, body)
        return status, json.loads(answer)

    def close(self) -> None:
        """Stop it as a supervisor does. Idempotent."""
        if self.supervisor.fileno() < 0:
            return
        self.supervisor.command("stop")
        self._thread.join(60)
        assert not self._thread.is_alive(), "the gateway did not stop"
        self._link.close()
        self.supervisor.close()


class Events:
    """A page's stream of server-sent events, read message by message."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        request = f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}"
        self._socket.sendall(f"{request}\r\n\r\n".encode())
        self._lines = self._socket.makefile("rb")

    def next(self) -> dict[str, Any]:
        while True:
            line = self._lines.readline()
            assert line, "the stream ended"
            if line.startswith(b"data: "):
                message: dict[str, Any] = json.loads(line[6:])
                return message

    def until(self, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            message = self.next()
            if what(message):
                return message
        pytest.fail("no such message within 60 s")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

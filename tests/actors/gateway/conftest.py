"""A gateway inside this process, between a scripted supervisor and whoever asks over HTTP."""

from __future__ import annotations

import http.client
import json
import select
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.control.histogram import Histogram
from holdfast.actors.gateway import address
from holdfast.actors.gateway.gateway import GatewayActor
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.runtime_dir import SOCKET
from holdfast.actors.runtime.spec import Member, Rules
from holdfast.actors.supervision import report
from holdfast.actors.supervision.control_socket import ControlClient, ControlSocket
from holdfast.actors.supervision.report import ActorFacts
from holdfast.actors.supervision.supervised import ActorRecord, ActorState
from holdfast.transport.frames import FrameRing

SHAPE = (48, 64, 3)
CAMERAS = {"r1/overhead": "r1/overhead", "r1/wrist": "r1/wrist"}
KINDS = {
    "witness": "witness",
    "broker": "broker",
    "pick/0": "inference",
    "r1/overhead": "sensor",
    "r1/wrist": "sensor",
    "r1/network": "network",
    "r1/control": "control",
}
CONTROL = {
    "state": "STREAMING",
    "paused": False,
    "reason": "",
    "ticks": 300,
    "missed_ticks": 0,
    "missed_ticks_machine": 2,
    "missed_ticks_restart": 1,
    "tick_lateness_us": {"p50": 40.0, "p99": 120.0, "p999": 300.0, "max": 410.0},
    "tick_lateness_buckets_us": Histogram().buckets_us(),
    "tick_lateness_recent_us": {"p50": 35.0, "p99": 90.0, "p999": 95.0, "max": 99.0},
    "plan_s": 0.8,
    "requests": 50,
    "merged": 48,
    "dropped": {"expired": 2},
    "request_latency_ms": {"p50": 60.0, "p99": 90.0},
    "stalled_ticks": 3,
    "void_dropped": 5,
    "driver_gaps": 1,
    "stale_dropped": 0,
    "refused_commands": {"range": 1},
    "refusing_s": 0.0,
    "refusing": "",
    "warnings": [],
    "fallback_ticks": 4,
    "episodes": 5,
    "successes": 4,
    "task": "put the red parcel in the left bin",
}
GUEST = {
    "robot": "bench-arm",
    "epoch": 7,
    "service": "pick",
    "replica": "pick/lab-12",
    "state": "open",
    "waiting": False,
    "silent_s": 0.1,
    "kind": "script",
    "host": "lab",
    "pid": 17,
    "vitals": {
        "state": "STREAMING",
        "reason": "",
        "plan_s": 0.7,
        "fps": 29.8,
        "steps": 900,
        "missed_steps": 3,
        "stalled_steps": 2,
        "refused": 1,
        "refusing_s": 0.0,
        "refusing": "",
        "dropped": {"expired": 4},
        "latency_ms": {"p50": 40.0, "p99": 70.0},
        "warnings": [],
    },
}
GUEST_REPLICA = {
    "name": "pick/lab-12",
    "service": "pick",
    "incarnation": 1,
    "sessions": 1,
    "capacity": 8,
    "load": 0.4,
    "progress_age_s": 0.2,
    "draining": False,
    "kind": "script",
    "host": "lab",
    "pid": 12,
}
SAID: dict[str, dict[str, Any]] = {
    "witness": {
        "ticks": 310,
        "pauses": 2,
        "oversleep_us": {"p50": 60.0, "p99": 900.0, "max": 4000.0},
    },
    "broker": {
        "session_count": 1,
        "replica_count": 1,
        "counters": {"requests": 50, "replies": 48},
        "sessions": [GUEST],
        "replicas": [GUEST_REPLICA],
    },
    "pick/0": {
        "service": "pick",
        "load": 0.25,
        "sessions": ["r1"],
        "max_sessions": 8,
        "queue": 0,
        "inference_ms": {"p50": 40.0, "p99": 55.0},
        "queue_ms": {"p50": 5.0, "p99": 16.0},
        "counts": {"served": 48, "superseded": 2},
        "batches": {"1": 48},
    },
    "r1/overhead": {"frames": 300, "frame_age_ms": 12.0},
    "r1/wrist": {"frames": 300, "frame_age_ms": 12.0},
    "r1/network": {"bytes_out": 123456, "bytes_in": 45678},
    "r1/control": CONTROL,
}


class ScriptedSupervisor:
    """The real console and the real report, over facts that a test sets."""

    def __init__(self, rundir: Path) -> None:
        self.asked: list[dict[str, Any]] = []
        self.silent = False
        self.robots = ["r1"]
        self.pids = {name: 1000 + k for k, name in enumerate(KINDS)}
        self.cores = {name: ActorRecord(ActorState.READY, incarnation=1) for name in KINDS}
        self.said = {name: dict(said) for name, said in SAID.items()}
        self.last_exit: dict[str, str] = {}
        self.ages: dict[str, float] = {}
        self._console = ControlSocket(rundir / SOCKET, self._handle)
        self._clients: list[ControlClient] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, name: str, state: ActorState, incarnation: int = 1, reason: str = "") -> None:
        self.cores[name] = ActorRecord(state, incarnation=incarnation, reason=reason)

    def status(self) -> dict[str, Any]:
        facts = [
            ActorFacts(
                name=name,
                kind=kind,
                robot="r1" if name.startswith("r1/") else None,
                pid=self.pids[name] if self.cores[name].state is ActorState.READY else None,
                uptime_s=12.0,
                progress_age_s=self.ages.get(name, 0.01),
                memory_mb=40.0,
                last_exit=self.last_exit.get(name),
                last_error=None,
                report=self.said[name],
            )
            for name, kind in KINDS.items()
        ]
        rules = Rules(hang_timeout_s=5.0)
        members = {name: Member(name, rules) for name in KINDS}
        return report.status("cell", 12.0, facts, self.cores, self.robots, members)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for client in self._clients:
            client.sock.close()
        self._console.close()

    def _handle(self, client: ControlClient, request: dict[str, Any]) -> None:
        if self.silent:
            return
        if request["do"] == "status":
            client.reply({"ok": True, "status": self.status()})
            return
        self.asked.append(request)
        if request["names"][0] not in ("r1", *KINDS):
            client.refuse(f"no actor {request['names'][0]!r}; did you mean 'r1/network'?")
        else:
            client.reply({"ok": True, "result": None})

    def _run(self) -> None:
        while not self._ended.is_set():
            sockets = {c.sock.fileno(): c for c in self._clients if not c.closed}
            listener = self._console.listener.fileno()
            poll = select.poll()  # not select: it knows only the first 1024 descriptors
            for fd in (listener, *sockets):
                poll.register(fd, select.POLLIN)
            for source, _ in poll.poll(10):
                if source != listener:
                    self._console.read(sockets[source])
                elif client := self._console.accept():
                    self._clients.append(client)
            for client in [c for c in self._clients if c.closed]:
                client.sock.close()
                self._clients.remove(client)


class Gateway:
    """A running gateway actor and a client of it."""

    def __init__(self, rundir: Path, incarnation: int = 1, **config: Any) -> None:
        segments = {name: FrameRing.size_for(SHAPE) for name in CAMERAS.values()}
        boot, link, self.supervisor = boot_in_memory(
            "gateway",
            "gateway",
            {"port": 0, "cameras": CAMERAS, **config},
            segments,
            incarnation=incarnation,
            rundir=rundir,
        )
        self._link = link
        self.rundir = rundir
        self.rings = {camera: boot.memory[name] for camera, name in CAMERAS.items()}
        self.actor = GatewayActor(boot, link)
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        eventually(lambda: self._up() or self.code is not None, "the gateway is up")

    def _up(self) -> bool:
        self.heard = [*getattr(self, "heard", []), *self.supervisor.messages()[0]]
        return any(hasattr(message, "info") for message in self.heard)

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
        self, method: str, path: str, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def get(self, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        return self.request("GET", path, {**self.bearer, **headers})

    def post(self, path: str, token: str | None = None) -> tuple[int, dict[str, Any]]:
        authorization = f"Bearer {self.token if token is None else token}"
        status, _, body = self.request("POST", path, {"authorization": authorization})
        return status, json.loads(body)

    def close(self) -> None:
        """Stop it as a supervisor does. Idempotent."""
        if self.supervisor.fileno() < 0:
            return
        self.supervisor.command("stop")
        self._thread.join(30)
        assert not self._thread.is_alive(), "the gateway did not stop"
        self._link.close()
        self.supervisor.close()


class Events:
    """A page's stream of server-sent events, read message by message."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
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
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            message = self.next()
            if what(message):
                return message
        pytest.fail("no such message within 30 s")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def eventually(condition: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)


@pytest.fixture
def rundir() -> Iterator[Path]:
    """A runtime directory with a short path: a socket's name holds 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="holdfast-gateway-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def supervisor(rundir: Path) -> Iterator[ScriptedSupervisor]:
    scripted = ScriptedSupervisor(rundir)
    yield scripted
    scripted.close()


@pytest.fixture
def gateway(rundir: Path, supervisor: ScriptedSupervisor) -> Iterator[Gateway]:
    """A gateway that has seen its first report."""
    running = Gateway(rundir)
    try:
        eventually(lambda: running.get("/api/status")[0] == 200, "the first report")
        yield running
    finally:
        running.close()


@pytest.fixture
def make_gateway(rundir: Path) -> Iterator[Callable[..., Gateway]]:
    made: list[Gateway] = []

    def make(**config: Any) -> Gateway:
        made.append(Gateway(rundir, **config))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def events(gateway: Gateway) -> Iterator[Events]:
    stream = Events(gateway.port, gateway.token)
    yield stream
    stream.close()


@pytest.fixture
def wait() -> Callable[..., None]:
    return eventually

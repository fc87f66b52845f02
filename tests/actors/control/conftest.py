"""A robot of two joints and a server that speaks the wire protocol: what a control actor needs."""

from __future__ import annotations

import contextlib
import mmap
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.actors.control import drivers
from holdfast.actors.control.loop import ControlActor
from holdfast.actors.control.plan import Floats
from holdfast.actors.control.plan_memory import SEGMENT_BYTES
from holdfast.actors.runtime.actor import Boot, boot_in_memory
from holdfast.actors.runtime.supervisor_link import SupervisorLink
from holdfast.robot.base import ControlMode, Episode, RobotSpec
from holdfast.tests.transport.packet_peers import WaitingServer
from holdfast.tests.waiting import wait_until
from holdfast.transport import bodies, messages
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Accept, Event, Heartbeat, Reply
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs

SPEC = RobotSpec(
    action_names=("a", "b"),
    state_names=("a", "b"),
    control_mode=ControlMode.POSITION,
    lower=(-1e9, -1e9),
    upper=(1e9, 1e9),
    max_rate=(float("inf"), float("inf")),
)
CHUNK = 40


class RecordingRobot:
    """Remembers every command and its instant."""

    at_rest = False
    trouble = refusal = ""
    estop: dict[str, Any] | None = None

    def __init__(self, spec: RobotSpec = SPEC):
        self.spec = spec
        self.commands: list[tuple[int, float]] = []
        self.connected = self.closed = False
        self.stops = 0
        self.attempt: Episode | None = None
        self.begins = self.deaf = False
        """Whether its surroundings begin an attempt when they are asked, and do not listen."""
        self.asked = 0

    def connect(self) -> None:
        self.connected = True

    def read_state(self, out: Floats) -> int:
        out[:] = self.commands[-1][1] if self.commands else 0.0
        return time.monotonic_ns()

    def write_action(self, action: Floats) -> None:
        self.commands.append((time.monotonic_ns(), float(action[0])))

    def idle(self) -> None:
        pass

    def serve(self) -> None:
        pass

    def episode(self) -> Episode | None:
        return self.attempt

    def ask_episode(self) -> bool:
        self.asked += self.begins
        if self.begins and not self.deaf and self.attempt is not None:
            number = self.attempt.number + 1
            self.attempt = Episode(number, f"task {number}")
        return self.begins

    def safe_stop(self) -> bool:
        self.stops += 1
        return self.stops >= 3

    def close(self) -> None:
        self.closed = True


class Server(threading.Thread):
    """A network actor, broker and replica in one: accepts and answers every request with a chunk
    whose values are seq * 1000 + step, so that each command shows where it is from."""

    def __init__(self, endpoint: str):
        super().__init__(daemon=True)
        self.endpoint = endpoint
        self.terms = Accept(
            session="s",
            replica="p/0",
            model="m",
            revision="1",
            checkpoint="c",
            chunk_size=CHUNK,
            fps=100.0,
            action_names=SPEC.action_names,
            cameras={},
            prefix="trained",
            max_prefix_steps=20,
        )
        self.reject: bodies.Reject | None = None
        self.rejects: str | None = None
        """The service whose handshakes `reject` is for; None: all."""
        self.silent = False
        self.answering = True
        self.delay_s = 0.0
        self.say: list[bodies.Body] = []
        self.seen: list[tuple[Kind, Header, Any]] = []
        self.ended = threading.Event()
        self._beats = 0
        self._epoch = 0

    def run(self) -> None:
        network = WaitingServer(self.endpoint)
        peer = b""
        while not self.ended.is_set():
            if network.poll(20):
                peer, frames = network.next()
                message = messages.decode(frames)
                self.seen.append((message.header.kind, message.header, message.body))
                for reply in self._answer(message):
                    while not network.send(peer, reply) and network.has(peer):
                        time.sleep(0.001)
                for junk in self._flood(message):
                    network.send(peer, junk)
            if peer and not self.silent:
                self._beats += 1
                beat = Header(Kind.HEARTBEAT, epoch=self._epoch)
                network.send(peer, messages.encode(beat, Heartbeat(progress=self._beats)))
                while self.say:
                    header = Header(Kind.EVENT, epoch=self._epoch)
                    network.send(peer, messages.encode(header, self.say.pop(0)))
        network.close()

    def _flood(self, message: messages.Message[Any]) -> Iterable[list[Buffer]]:
        """What is sent after the answers, as far as there is room for it."""
        return ()

    def lose(self) -> None:
        self.say.append(Event(what="lost", message="unplugged by the test"))

    def kinds(self) -> list[Kind]:
        return [kind for kind, _, _ in list(self.seen)]

    def _rejected(self, asked: bodies.Open) -> bodies.Reject | None:
        return self.reject if self.rejects in (None, asked.service) else None

    def _answer(self, message: messages.Message[Any]) -> Iterator[list[Buffer]]:
        header = message.header
        if self.silent:
            return
        if header.kind is Kind.OPEN and (reject := self._rejected(message.body)) is not None:
            yield messages.encode(header._replace(kind=Kind.REJECT), reject)
        elif header.kind is Kind.OPEN:
            self._epoch = header.epoch
            yield messages.encode(header._replace(kind=Kind.ACCEPT), self.terms)
        elif header.kind is Kind.REQUEST and self.answering:
            time.sleep(self.delay_s)
            steps = np.arange(CHUNK, dtype=np.float32)[:, None]
            chunk = np.repeat(header.seq * 1000 + steps, len(self.terms.action_names), 1)
            blobs = Blobs()
            body = Reply(chunk_model=blobs.array(-chunk), chunk=blobs.array(chunk))
            yield messages.encode(header._replace(kind=Kind.REPLY), body, blobs)


class Cell:
    """One control actor in a thread of this process, its robot, its server, its supervisor."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch):
        self.endpoint = f"ipc://{directory}/net"
        self.server = Server(self.endpoint)
        self.robot = RecordingRobot()
        self.config: dict[str, Any] = {
            "robot": "r1",
            "driver": "sim",
            "service": "p",
            "endpoint": self.endpoint,
            "plan": "r1/plan",
            "fps": 100.0,
            "plan_settings": {"buffer_time_s": 0.2},
            # What the machine delays is neither lost nor unanswered.
            "safety": {
                "request_timeout_s": 30.0,
                "liveness_s": 30.0,
                "degraded_after_s": 0.2,
                "backoff_s": 0.05,
            },
        }
        monkeypatch.setattr(drivers, "create", lambda *_: self.robot)
        self.memory: dict[str, mmap.mmap] = {}
        self.incarnation = 0
        self.exit_code: int | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> ControlActor:
        """The next incarnation, over the memory of the one before."""
        self.incarnation += 1
        boot, ours, self.supervisor = boot_in_memory(
            "control",
            "r1/control",
            self.config,
            segments={"r1/plan": SEGMENT_BYTES},
            memory=self.memory,
            incarnation=self.incarnation,
        )
        self._link = ours
        self.memory.update(boot.memory)
        self.actor = ControlActor(replace(boot, rundir=Path("/")), ours)
        self.exit_code = None
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        return self.actor

    def _main(self) -> None:
        self.exit_code = self.actor.main()

    def stop(self) -> None:
        if self._thread is not None:
            with contextlib.suppress(OSError):  # the test closed the link itself
                self.supervisor.command("stop")
            self._thread.join(60)
            assert not self._thread.is_alive(), "the actor did not stop"
            self._thread = None
            self.supervisor.close()
            self._link.close()

    def ended(self) -> int | None:
        """The exit code, once the actor ended by itself."""
        assert self._thread is not None
        self._thread.join(60)
        return self.exit_code

    def command(self, verb: str, **args: Any) -> Any:
        """Send a command and wait for its acknowledgement."""
        self.supervisor.command(verb, args, id=77)

        def answer() -> Any:
            return next(
                (m for m in self.supervisor.messages()[0] if getattr(m, "id", 0) == 77), None
            )

        return wait_until(answer, f"{verb} was not acknowledged")

    def status(self) -> dict[str, Any]:
        from holdfast.actors.runtime.status_board import StatusBoardReader

        return StatusBoardReader(self.memory["r1/control/board"]).report() or {}

    def played(self) -> list[float]:
        return [value for _, value in list(self.robot.commands)]

    def close(self) -> None:
        self.stop()
        self.server.ended.set()
        if self.server.is_alive():
            self.server.join(60)
        Path(self.endpoint.removeprefix("ipc://")).unlink(missing_ok=True)


@pytest.fixture
def cell(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cell]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        built = Cell(Path(directory), monkeypatch)
        try:
            yield built
        finally:
            built.close()


__all__ = ["CHUNK", "SPEC", "Boot", "Cell", "RecordingRobot", "SupervisorLink"]

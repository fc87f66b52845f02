"""A broker on real sockets in a thread of this process, and its peers.

They use the transport's codec, and keep to the protocol unless a test makes them break it.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from holdfast.actors.broker.broker import BrokerActor
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.tests.actors.broker.desk import asking, granting, offering
from holdfast.tests.waiting import wait_until
from holdfast.transport import messages, sockets
from holdfast.transport.bodies import (
    KINDS,
    Body,
    Heartbeat,
    Open,
    Reply,
    Request,
)
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs, Message

PATIENCE_S = 60.0


PATIENT = {"replica_lost_after_s": 600.0, "robot_lost_after_s": 600.0}
"""For tests that do not concern time, on machines that may be slow."""


class WatchedContext(zmq.Context[zmq.Socket[bytes]]):
    """Monitors its DEALERs from before they connect: a connection whose key is refused is tried
    once."""

    monitors: list[Any]

    def socket(
        self,
        socket_type: int,
        socket_class: Callable[[Self, int], zmq.Socket[bytes]] | None = None,
        **options: Any,
    ) -> zmq.Socket[bytes]:
        made = super().socket(socket_type, socket_class, **options)
        if socket_type == zmq.DEALER:
            failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            failed |= zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
            monitor = made.get_monitor_socket(failed | zmq.EVENT_HANDSHAKE_SUCCEEDED)
            self.monitors = [monitor]
        return made

    def handshake(self) -> str:
        """How the newest DEALER's next handshake ended, `accepted` or `refused`; empty if none has
        ended yet."""
        (monitor,) = self.monitors
        if not monitor.poll(1):
            return ""
        event = recv_monitor_message(monitor)["event"]
        return "accepted" if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else "refused"


Got = tuple[str, Message[Any], list[Any]]
"""The robot's name (at a replica), the message, its frames as received."""


class Wire:
    """One peer's DEALER to a broker; a replica's messages begin with the robot's name."""

    def __init__(
        self, context: sockets.Context, endpoint: str, identity: str, **options: Any
    ) -> None:
        options.setdefault("hwm", 64)
        self.identity, self.name = identity, identity.rpartition(":")[0]
        self.socket = sockets.dealer(context, endpoint, identity, **options)
        self.is_replica = "/" in identity
        self.asking: Open | None = None
        self.backlog: list[Got] = []

    def say(self, body: Body, robot: str = "", blobs: Any = (), **header: int) -> None:
        frames = messages.encode(Header(KINDS[type(body)], **header), body, blobs)
        self.raw([robot.encode(), *frames] if self.is_replica else frames)

    def raw(self, frames: list[Any]) -> None:
        """Send once the connection is there."""
        assert self.socket.poll(int(PATIENCE_S * 1000), zmq.POLLOUT), "no connection"
        assert sockets.send(self.socket, frames)

    def get(self, kind: Kind, patience_s: float = PATIENCE_S) -> Got:
        """The next message of `kind` (robot, message, frames as received); others are kept."""
        deadline_s = time.monotonic() + patience_s
        while True:
            for place, entry in enumerate(self.backlog):
                if entry[1].header.kind is kind:
                    return self.backlog.pop(place)
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, f"{self.identity} waits for {kind.name}, has {self.kinds()}"
            if self.socket.poll(int(left_s * 1000) + 1):
                self.take()

    def take(self) -> None:
        """Move everything that has arrived into the backlog."""
        while (frames := sockets.receive(self.socket)) is not None:
            robot = bytes(frames.pop(0)).decode() if self.is_replica else ""
            self.backlog.append((robot, messages.decode(frames), frames))

    def kinds(self) -> list[str]:
        return [entry[1].header.kind.name for entry in self.backlog]

    # A replica

    def register(self, capacity: int = 2, **more: Any) -> None:
        self.say(offering(self.name, capacity, **more), token=time.monotonic_ns())
        self.get(Kind.WELCOME)

    def beat(self) -> None:
        self.say(Heartbeat(progress=time.monotonic_ns()))

    def accept(self) -> str:
        """Accept the next OPEN; the robot's name."""
        robot, message, _ = self.get(Kind.OPEN)
        header = message.header
        self.say(granting(self.name), robot, epoch=header.epoch, token=header.token)
        return robot

    def answer(self, value: float = 0.0) -> None:
        """Answer the next REQUEST by a chunk full of `value`."""
        robot, message, _ = self.get(Kind.REQUEST)
        blobs = Blobs()
        chunk = np.full((50, 1), value, np.float32)
        body = Reply(chunk_model=blobs.array(chunk), chunk=blobs.array(chunk))
        fields = {"seq": message.header.seq, "epoch": message.header.epoch}
        self.say(body, robot, blobs, **fields)

    # A robot

    def open(self, replica: Wire, epoch: int = 1) -> None:
        """Open a session at `replica`, which accepts."""
        self.say(asking(self.name), epoch=epoch)
        assert replica.accept() == self.name
        self.get(Kind.ACCEPT)

    def ask(self, seq: int, epoch: int = 1, nbytes: int = 4) -> None:
        blobs = Blobs()
        body = Request(state=blobs.array(np.zeros(nbytes // 4, np.float32)))
        self.say(body, blobs=blobs, seq=seq, epoch=epoch)


class LiveBroker:
    """A broker in a thread of this process, with its peers' context and its board."""

    def __init__(self, **config: Any) -> None:
        self.directory = Path(tempfile.mkdtemp(dir=os.environ["HOLDFAST_RUNTIME"]))
        self.front = config.pop("front", sockets.ipc(self.directory, "front"))
        self.back = config.pop("back", sockets.ipc(self.directory, "back"))
        self.context: sockets.Context = zmq.Context()
        self.config = {"front": self.front, "back": self.back, **PATIENT, **config}
        self.memory: Any = None
        self.incarnation = 0
        self.start()

    def start(self) -> None:
        self.incarnation += 1
        boot, ours, self.supervisor = boot_in_memory(
            "broker",
            "broker",
            self.config,
            memory=self.memory,
            incarnation=self.incarnation,
            rundir=self.directory,
        )
        self.memory = boot.memory
        self.actor = BrokerActor(boot, ours)
        self.link = ours
        self.code: int | None = None
        self.thread = threading.Thread(target=self._main, daemon=True)
        self.thread.start()

    def _main(self) -> None:
        self.code = self.actor.main()

    def stop(self) -> None:
        self.supervisor.command("stop")
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the broker does not stop"
        self.link.close()
        self.supervisor.close()

    def robot(self, identity: str, **options: Any) -> Wire:
        return Wire(self.context, self.front, identity, **options)

    def replica(self, identity: str, **options: Any) -> Wire:
        return Wire(self.context, self.back, identity, **options)

    def status(self) -> dict[str, Any]:
        return StatusBoardReader(self.memory["broker/board"]).report() or {}

    def until(self, condition: Callable[[dict[str, Any]], Any]) -> Any:
        """The first truthy `condition` of the status on the board."""
        return wait_until(
            lambda: condition(self.status() or {"counters": {}}), "the status", PATIENCE_S
        )

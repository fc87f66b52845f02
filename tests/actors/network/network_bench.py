"""A network actor in a thread of this process, between a control loop and a broker of the test."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from holdfast.actors.network.network import NetworkActor
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.tests.accepted import accept
from holdfast.tests.transport.packet_peers import WaitingClient
from holdfast.tests.waiting import wait_until
from holdfast.transport import bodies, messages, sockets
from holdfast.transport.bodies import Accept, Open, Request
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.header import Header, Kind
from holdfast.transport.images import Pixels
from holdfast.transport.messages import Blobs, Message
from holdfast.transport.outbox import Outbox

SHAPE = (48, 64, 3)


class Bench:
    """A network actor in a thread, with the sockets and memory of its peers."""

    def __init__(self, rundir: Path, **options: object) -> None:
        self.context: sockets.Context = zmq.Context()
        self.front = sockets.router(self.context, sockets.ipc(rundir, "front"))
        config: dict[str, Any] = {
            "robot": "r1",
            "service": "pick",
            "control": sockets.ipc(rundir, "r1.network"),
            "brokers": [sockets.ipc(rundir, "front")],
            "cameras": {"top": {"segment": "r1/top", "width": 64, "height": 48}},
            "state_names": ["a", "b"],
            "action_names": ["a"],
            "outbox": "r1/outbox",
            "heartbeat_s": 0.05,
            "broker_lost_after_s": 0.4,
            **options,
        }
        segments = {"r1/top": FrameRing.size_for(SHAPE), "r1/outbox": Outbox.size_for(32 * 1024)}
        self.boot, self._link, self._supervisor = boot_in_memory(
            "network", "r1/network", config, segments, rundir=rundir
        )
        self.camera = FrameRing(self.boot.memory["r1/top"], SHAPE)
        self.control = WaitingClient(config["control"], "r1/control:1")
        self.peer = b""
        self.codes: list[int] = []
        actor = NetworkActor(self.boot, self._link)
        self._thread = threading.Thread(target=lambda: self.codes.append(actor.main()), daemon=True)
        self._thread.start()
        if "brokers" not in options:
            self.at_broker(Kind.HEARTBEAT)  # the connection to it is there

    def close(self) -> None:
        self._supervisor.command("stop")
        self._thread.join(60)
        self._supervisor.close()
        self._link.close()
        self.control.close()
        self.context.destroy(linger=0)
        assert self.codes == [0]

    def status(self) -> dict[str, Any]:
        return StatusBoardReader(self.boot.memory["r1/network/board"]).report() or {}

    def dropped(self) -> dict[str, int]:
        """The counts of dropped messages by reason."""
        return dict(self.status().get("dropped", {}))

    def ask(self, header: Header, body: bodies.Body, blobs: Blobs | None = None) -> None:
        """Send as control; the connection may still be under way."""
        frames = messages.encode(header, body, blobs or ())
        wait_until(lambda: self.control.send(frames), "a connection to the actor")

    def at_broker(self, kind: Kind) -> Message[Any]:
        """The next message of `kind` that reaches the broker."""
        while True:
            assert self.front.poll(60_000), f"no {kind.name} reached the broker"
            self.peer, *frames = self.front.recv_multipart()
            message = messages.decode(frames)
            if message.header.kind is kind:
                return message

    def at_control(self, kind: Kind) -> Message[Any]:
        """The next message of `kind` that reaches control."""
        while True:
            message = messages.decode(self.control.next())
            if message.header.kind is kind:
                return message

    def answer(self, header: Header, body: bodies.Body, blobs: Blobs | None = None) -> None:
        """Send as the broker; the connection may be made anew just now."""
        frames = [self.peer, *messages.encode(header, body, blobs or ())]
        wait_until(lambda: sockets.send(self.front, frames), "the actor's connection")

    def open(
        self, shm: bool, epoch: int = 1, direct: str = "", rings: tuple[str, ...] = ()
    ) -> Open:
        """Complete a handshake, with a replica that takes requests straight at `direct` and reads
        the `rings` of these cameras; return the OPEN that the broker got."""
        asked = Open(
            robot="r1",
            service="pick",
            action_names=("a",),
            state_names=("a", "b"),
            cameras={},
            fps=30,
        )
        self.ask(Header(Kind.OPEN, epoch=epoch), asked)
        opened = self.at_broker(Kind.OPEN).body
        self.answer(Header(Kind.ACCEPT, epoch=epoch), self.terms(shm, direct, rings=rings))
        self.at_control(Kind.ACCEPT)
        assert isinstance(opened, Open)
        return opened

    @staticmethod
    def terms(shm: bool, direct: str = "", **changes: Any) -> Accept:
        return accept(cameras={"top": (32, 24)}, shm=shm, direct=direct, **changes)

    def request(self, epoch: int = 1, episode: int = 0, seq: int = 7) -> None:
        blobs = Blobs()
        body = Request(state=blobs.array(np.array([1, 2], np.float32)), task="go")
        self.ask(Header(Kind.REQUEST, seq, episode, epoch, token=42), body, blobs)


def noise(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)

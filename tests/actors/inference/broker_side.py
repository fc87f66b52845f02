"""A broker's socket for replicas, played by hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import zmq

from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Welcome
from holdfast.transport.header import Kind
from holdfast.transport.messages import Message, decode, encode


class BrokerSide:
    """The ROUTER at `endpoint`; it answers the replica that sent the last message."""

    def __init__(self, endpoint: str) -> None:
        self.context: sockets.Context = zmq.Context()
        self.socket = sockets.router(self.context, endpoint)
        self.identity = b""

    def send(self, robot: str, frames: Sequence[Buffer]) -> None:
        """Send a message of `robot`, or of the broker itself if that is empty."""
        message = [self.identity, robot.encode(), *frames]
        wait_until(
            lambda: sockets.send(self.socket, message),
            "the replica takes a message",
            every_s=0.001,
        )

    def receive(self, *kinds: Kind, within_s: float = 60.0) -> tuple[str, Message[Any]]:
        """The next message of one of `kinds`, with its robot; others are skipped."""
        deadline_s = time.monotonic() + within_s
        while self.socket.poll(max(0, int(1000 * (deadline_s - time.monotonic())))):
            frames = sockets.receive(self.socket)
            assert frames is not None
            self.identity = bytes(frames[0])
            message = decode(frames[2:])
            if message.header.kind in kinds:
                return bytes(frames[1]).decode(), message
        raise AssertionError(f"none of {kinds} within {within_s} s")

    def welcome(self) -> Message[Any]:
        """Wait for a registration and answer it; a process may import torch before it."""
        _, registration = self.receive(Kind.REGISTER, within_s=90.0)
        header = registration.header._replace(kind=Kind.WELCOME)
        self.send("", encode(header, Welcome(broker="b", heartbeat_s=0.5)))
        return registration

    def close(self) -> None:
        """Close the socket."""
        self.context.destroy(linger=0)

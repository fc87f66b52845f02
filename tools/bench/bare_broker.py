"""A broker that decides nothing: what is left of the way of a request when routing costs nothing.

It welcomes every replica, answers every heartbeat, and otherwise passes frames on between the one
robot and the one replica that it knows. What it lacks (admission, replay, epochs, limits) is what
the real broker is for; the difference between the two is what that costs.
"""

from __future__ import annotations

from typing import Any

import zmq

from ...actors.runtime.actor import Actor
from ...actors.runtime.configs import BrokerConfig
from ...transport import messages, sockets
from ...transport.bodies import Welcome
from ...transport.header import Header, Kind


class BareBroker(Actor):
    """A broker without decisions. It takes a broker's config, of which it uses the endpoints."""

    kind = "holdfast.tools.bench.bare_broker:BareBroker"
    Config = BrokerConfig

    def setup(self) -> None:
        self._context: sockets.Context = zmq.Context()
        self.resources.callback(self._context.destroy, linger=0)
        self._front = sockets.router(self._context, self.config.front)
        self._back = sockets.router(self._context, self.config.back)
        self._robot: Any = None
        self._replica: Any = None

    def run(self) -> None:
        poller = zmq.Poller()
        for source in (self._front, self._back, self.link.fileno()):
            poller.register(source, zmq.POLLIN)
        self.ready()
        while not self.stopping:
            awake = dict(poller.poll(100))
            if self._back in awake:
                self._from_replica(self._back.recv_multipart(copy=False))
            if self._front in awake:
                self._from_robot(self._front.recv_multipart(copy=False))
            if self.link.fileno() in awake:
                self.link.commands()
            self.board.progress()

    def _from_robot(self, frames: list[Any]) -> None:
        self._robot, *rest = frames
        if len(rest) < 2:
            return  # a connection's greeting
        if Header.unpack(rest[0].buffer).kind is Kind.HEARTBEAT:
            self._front.send_multipart(frames, copy=False)
        elif self._replica is not None:
            name = self._robot.bytes.partition(b":")[0]
            self._back.send_multipart([self._replica, name, *rest], copy=False)

    def _from_replica(self, frames: list[Any]) -> None:
        self._replica, robot, *rest = frames
        if len(robot):
            self._front.send_multipart([self._robot, *rest], copy=False)
            return
        header = Header.unpack(rest[0].buffer)
        if header.kind is Kind.REGISTER:
            welcome = messages.encode(header._replace(kind=Kind.WELCOME), Welcome(broker="pipe"))
            self._back.send_multipart([self._replica, b"", *welcome])
        elif header.kind is Kind.HEARTBEAT:
            self._back.send_multipart(frames, copy=False)

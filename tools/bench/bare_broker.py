"""A broker that decides nothing: what is left of the way of a request when routing costs nothing.

It welcomes every replica, answers every heartbeat, gives each robot the next replica, and otherwise
passes frames on as they came. Of a header it reads the one byte that says the kind. What it lacks
(admission, replay, epochs, limits, a status) is what the real broker is for; the difference between
the two is what that costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from ...actors.broker.broker import MESSAGES_PER_TURN, REPLICA_HWM
from ...actors.broker.gathering import gather_ns
from ...actors.runtime.actor import Actor
from ...actors.runtime.configs import BrokerConfig
from ...transport import messages, sockets
from ...transport.bodies import Welcome
from ...transport.header import Header, Kind
from ...transport.poll import Poll

_KIND = 5
"""The byte of a header that says its kind."""
_WAIT_MS = 100
_REPORT_NS = 250_000_000


class BareBroker(Actor):
    """A broker without decisions. It takes a broker's config, of which it uses the endpoints."""

    kind = "holdfast.tools.bench.bare_broker:BareBroker"
    Config = BrokerConfig

    def setup(self) -> None:
        self._context: sockets.Context = zmq.Context()
        self.resources.callback(self._context.destroy, linger=0)
        self._front = sockets.router(self._context, self.config.front)
        self._back = sockets.router(self._context, self.config.back, hwm=REPLICA_HWM)
        self._settled: set[sockets.Socket] = set()
        """The sockets that were found empty and not sent to since: see `Poll.wait`."""
        self._robots: dict[bytes, bytes] = {}
        """The routing id of each robot, by its name."""
        self._places: dict[bytes, bytes] = {}
        """The routing id of the replica of each robot, by the robot's name."""
        self._replicas: list[bytes] = []
        self._requests = self._replies = 0

    def run(self) -> None:
        poll = Poll(self._back, self._front, self.link.fileno())
        report_ns = turned_ns = 0
        self.ready()
        while not self.stopping:
            now_ns, robots = time.monotonic_ns(), len(self._places)
            if sleep_ns := gather_ns(robots, turned_ns, now_ns, more=False):  # as the real one
                time.sleep(sleep_ns / 1e9)
            awake = poll.wait(_WAIT_MS, settled=self._settled)
            now_ns = turned_ns = time.monotonic_ns()
            if self._back in awake:
                self._drain(self._back, self._from_replica)
            if self._front in awake:
                self._drain(self._front, self._from_robot)
            if self.link.fileno() in awake:
                self.link.commands()
            if now_ns >= report_ns:
                report_ns = now_ns + _REPORT_NS
                self._report()
            self.board.progress()

    def _drain(self, socket: sockets.Socket, handle: Callable[[list[zmq.Frame]], None]) -> None:
        for _ in range(MESSAGES_PER_TURN):
            try:
                part = socket.recv(sockets.NOW, copy=False)
            except zmq.Again:
                break
            frames = [part]
            while part.more:
                part = socket.recv(sockets.NOW, copy=False)
                frames.append(part)
            handle(frames)
            if not sockets.has_message(socket):
                break
        else:
            return
        self._settled.add(socket)

    def _send(self, socket: sockets.Socket, frames: Sequence[Any]) -> None:
        self._settled.discard(socket)
        try:
            sockets.send_now(socket, frames, copy=False)
        except zmq.ZMQError:
            return  # its robot asks again

    def _from_robot(self, frames: list[zmq.Frame]) -> None:
        robot, *rest = frames
        if len(rest) < 2:
            return  # a connection's greeting
        kind = rest[0].buffer[_KIND]
        if kind == Kind.HEARTBEAT:
            self._send(self._front, frames)
            return
        identity = robot.bytes
        name = identity.partition(b":")[0]
        self._robots[name] = identity
        place = self._places.get(name)
        if place is None:
            if not self._replicas:
                return
            place = self._places[name] = self._replicas[len(self._places) % len(self._replicas)]
        self._requests += kind == Kind.REQUEST
        self._send(self._back, [place, name, *rest])

    def _from_replica(self, frames: list[zmq.Frame]) -> None:
        replica, robot, *rest = frames
        kind = rest[0].buffer[_KIND]
        if len(robot):
            self._replies += kind == Kind.REPLY
            self._send(self._front, [self._robots[robot.bytes], *rest])
        elif kind == Kind.REGISTER:
            identity = replica.bytes
            if identity not in self._replicas:
                self._replicas.append(identity)
            header = Header.unpack(rest[0].buffer)._replace(kind=Kind.WELCOME)
            welcome = messages.encode(header, Welcome(broker="pipe"))
            self._send(self._back, [identity, b"", *welcome])
        elif kind == Kind.HEARTBEAT:
            self._send(self._back, frames)

    def _report(self) -> None:
        self.board.report(
            {
                "replica_count": len(self._replicas),
                "requests": self._requests,
                "replies": self._replies,
                "replays": 0,
                "counters": {},
            }
        )

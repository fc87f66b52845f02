"""`BrokerPaths`: a robot's connections to all brokers of its site, and the route between them.

Every broker is sent heartbeats, so that those that answer are known before one is needed; a session
is claimed at the present one only. A broker that the robot has left is sent a CLOSE until it has
answered a heartbeat that came after one.
"""

from __future__ import annotations

from collections.abc import Collection

from ...transport import messages, sockets
from ...transport.arrays import Buffer
from ...transport.bodies import Close, Heartbeat
from ...transport.connection import Condition, Connection
from ...transport.header import Header, Kind
from ...transport.poll import Poll, Source
from ..runtime.configs import NetworkConfig
from ..runtime.key_files import KeyFiles
from ..runtime.own_keys import OwnKeys
from .beat_schedule import BeatSchedule
from .broker_route import BrokerRoute

SILENT_NS = 2_000_000_000
"""After this silence a connection is made anew, as address and path may have changed; the session
goes on by it."""


def dead_after_ns(config: NetworkConfig) -> int:
    """After how much silence an open connection to a broker is made anew."""
    return min(SILENT_NS, round(config.broker_lost_after_s * 5e8))


class BrokerPaths:
    """The connections of one robot, numbered as its brokers are. Sends do not block; what a socket
    does not take is dropped, and `send` returns False."""

    def __init__(
        self,
        context: sockets.Context,
        config: NetworkConfig,
        identity: str,
        keys: OwnKeys | None = None,
    ) -> None:
        self._keys = keys or OwnKeys(config.robot, KeyFiles(), config.brokers)
        self.endpoints = config.brokers
        self.connections = [
            Connection(
                context,
                endpoint,
                identity,
                key=self._keys.of(k)[0],
                server=self._keys.of(k)[1],
                lost_after_ns=dead_after_ns(config),
            )
            for k, endpoint in enumerate(config.brokers)
        ]
        self.route = BrokerRoute(len(self.connections), round(config.heartbeat_s * 1e9))
        self.several = len(self.connections) > 1
        self._beats = BeatSchedule(round(config.heartbeat_s * 1e9), dead_after_ns(config))
        self.bytes_out = 0
        self._opened: dict[int, int] = {}
        """The epoch of the session that each broker may hold."""
        self._closed_ns: dict[int, int] = {}
        """Since when a broker has been sent a CLOSE."""

    @property
    def present(self) -> str:
        """The endpoint of the broker by which the session goes."""
        return self.endpoints[self.route.current]

    @property
    def reason(self) -> str:
        """Why no broker is reachable, each named, and what a new key waits for; empty when one
        is."""
        reasons = [each.reason for each in self.connections]
        return "" if "" in reasons else "; ".join(filter(None, [*reasons, self._keys.reason]))

    @property
    def impatient(self) -> bool:
        """Whether the present broker may soon have to be left, because it owes an answer."""
        return self.several and self.route.waits

    def beat_due(self, state: str, now_ns: int) -> bool:
        """Whether all brokers are to be sent a heartbeat now; the robot is in `state`."""
        return self._beats.due(state, now_ns) or (self.several and self.route.probe_due(now_ns))

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for messages, and for changes of the connections."""
        for each in self.connections:
            each.watch(poll)

    def connected(self, awake: Collection[Source]) -> list[int]:
        """The brokers to which a connection was made since the last call. Call it in every turn of
        the poll, with what that returned."""
        made = [k for k, each in enumerate(self.connections) if each.connected(awake)]
        for k in made:
            self.route.connection(k, is_open=True)
        return made

    def tick(self, now_ns: int) -> list[str]:
        """Let time pass; why connections that were dead are made anew. All are, with a new key."""
        if self._keys.follow([each.condition for each in self.connections], now_ns):
            for k, each in enumerate(self.connections):
                each.rekey(*self._keys.of(k))
        remade = []
        for k, each in enumerate(self.connections):
            if each.tick(now_ns, dead=self.route.unheard(k, now_ns)):
                remade.append(each.reason)
            self.route.connection(k, each.condition is Condition.OPEN)
        return remade

    def send(self, frames: list[Buffer], broker: int | None = None) -> bool:
        """Send to `broker`, by default the present one."""
        k = self.route.current if broker is None else broker
        if not sockets.send(self.connections[k].socket, frames):
            return False
        self.bytes_out += sum(len(frame) for frame in frames)
        return True

    def open(self, frames: list[Buffer], epoch: int) -> bool:
        """Send an OPEN to the present broker."""
        k = self.route.current
        self._closed_ns.pop(k, None)
        self._opened[k] = epoch
        return self.send(frames, k)

    def asked(self, seq: int, now_ns: int) -> None:
        """The request `seq` was sent to the present broker."""
        # Of several brokers all are sent heartbeats, so that those that answer are known.
        if not self.several:
            self._beats.asked(seq, now_ns)

    def ended(self) -> None:
        """The present broker has ended or refused the session."""
        self._opened.pop(self.route.current, None)

    def heard(self, broker: int, header: Header, now_ns: int) -> None:
        """A message of `broker` arrived."""
        if header.kind in (Kind.REPLY, Kind.ERROR):
            self._beats.answered(header.seq)
        answered = header.kind is Kind.HEARTBEAT
        self.route.heard(broker, now_ns, header.token if answered else 0)
        round_trip_ns = self.route.paths[broker].longest_round_trip_ns
        self.connections[broker].heard(now_ns, round_trip_ns or None)
        closed_ns = self._closed_ns.get(broker)
        if answered and closed_ns is not None and header.token >= closed_ns:
            del self._closed_ns[broker]
            self._opened.pop(broker, None)

    def beat(self, state: str, claim: Header, beat: Heartbeat, now_ns: int) -> None:
        """Send a heartbeat to every broker; `claim` is the header to the present one, `state` the
        robot's."""
        self._beats.beaten(state, now_ns)
        for k in range(len(self.connections)):
            self.beat_one(k, claim, beat, now_ns)

    def beat_one(self, broker: int, claim: Header, beat: Heartbeat, now_ns: int) -> None:
        """Send a heartbeat to `broker`, after the CLOSE of a session that the robot has left."""
        route = self.route
        if broker == route.current:
            header = claim
        else:
            header = Header(Kind.HEARTBEAT, token=now_ns)
            if (epoch := self._opened.get(broker)) is not None and not route.opening:
                self._closed_ns.setdefault(broker, now_ns)
                close = Header(Kind.CLOSE, epoch=epoch)
                self.send(messages.encode(close, Close(reason="moved")), broker)
        if self.send(messages.encode(header, beat), broker):
            route.beaten(broker, now_ns)

    def answer_times(self, now_ns: int) -> dict[str, float]:
        """`round_trip_ms`: the last heartbeat's, `waiting_ms`: since when one awaits its answer.
        Both grow with what waits in the queues on the way, the robot's own included."""
        path = self.route.paths[self.route.current]
        last_ns = path.round_trips_ns[-1] if path.round_trips_ns else 0
        waiting_ns = 0 if path.asked_ns is None else now_ns - path.asked_ns
        return {
            "round_trip_ms": round(last_ns / 1e6, 1),
            "waiting_ms": round(waiting_ns / 1e6, 1),
        }

    def close(self) -> None:
        """Close the monitors; the sockets are closed with their context."""
        self._keys.close()
        for each in self.connections:
            each.close()

    def status(self) -> dict[str, object]:
        """Whether the brokers are reachable; a row for each: where it is, why it is not reachable,
        whether it is used."""
        rows = enumerate(zip(self.endpoints, self.connections, strict=True))
        return {
            "broker": self.reason,
            "brokers": [
                {
                    "endpoint": endpoint,
                    "reason": each.reason,
                    "open_s": each.open_s,
                    "used": k == self.route.current,
                }
                for k, (endpoint, each) in rows
            ],
            "reconnects": sum(each.remade for each in self.connections),
            "bytes_out": self.bytes_out,
        }

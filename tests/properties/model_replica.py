"""A replica of a site with several brokers, as `transport/reference.md` describes it, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.actors.broker.effects import Received, ToReplica
from holdfast.actors.broker.peers import Peer
from holdfast.tests.properties.routing_peers import body_of, message, offer, terms
from holdfast.transport.bodies import Event, Heartbeat, Open, Reject
from holdfast.transport.header import Header, Kind

MS = 1_000_000
BEAT_NS = 500 * MS
SERVICE_NS = 40 * MS
ABANDONED_NS = 7_000 * MS


@dataclass
class ModelReplica:
    """`send(broker, message, robot)`; `sessions` by robot: (broker, epoch, move); `pending` by
    robot: the request, due when."""

    peer: Peer
    capacity: int
    send: Callable[[int, Received, str], None]
    heard_ns: list[int]
    """By broker."""
    sessions: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    pending: dict[str, tuple[Header, int]] = field(default_factory=dict)
    progress: int = 0
    token: int = 0

    def register(self, broker: int, now_ns: int) -> None:
        """By a new connection, or again: what came by the one before is over."""
        self._end(broker)
        self.heard_ns[broker] = now_ns
        self.token += 1
        body = offer(self.peer.name, self.capacity)
        self.send(broker, message(Kind.REGISTER, body, token=self.token), "")
        self._beat()

    def live(self, now_ns: int) -> None:
        """Answer what is due; give up brokers that are silent."""
        for k, heard_ns in enumerate(self.heard_ns):
            if now_ns - heard_ns > ABANDONED_NS:
                self._end(k)
        for robot, (asked, due_ns) in list(self.pending.items()):
            if now_ns >= due_ns:
                del self.pending[robot]
                reply = Received(asked._replace(kind=Kind.REPLY), ("frames", "reply"))
                self.send(self.sessions[robot][0], reply, robot)
        if now_ns % BEAT_NS == 0:
            self._beat()

    def receive(self, broker: int, effect: ToReplica, now_ns: int) -> None:
        header, robot, kind = effect.header, effect.robot, effect.header.kind
        self.heard_ns[broker] = now_ns
        held = self.sessions.get(robot)
        if kind is Kind.WELCOME and header.token == 0:
            self.register(broker, now_ns)
        elif kind is Kind.OPEN:
            self._opened(broker, robot, header.epoch, body_of(effect, Open).move)
        elif held is None or held[:2] != (broker, header.epoch):
            if kind is Kind.REQUEST:
                self._send_lost(broker, robot, header.epoch)
        elif kind is Kind.CLOSE:
            del self.sessions[robot]
            self.pending.pop(robot, None)
            self._beat()
        elif kind is Kind.REQUEST:
            waiting = self.pending.get(robot)
            if waiting is None or waiting[0].seq < header.seq:
                self.pending[robot] = header, now_ns + SERVICE_NS

    def _opened(self, broker: int, robot: str, epoch: int, move: int) -> None:
        held = self.sessions.get(robot)
        refusal = ""
        if held is not None and held[0] != broker and (epoch, move) < held[1:]:
            refusal = "moved"
        elif held is None and len(self.sessions) >= self.capacity:
            refusal = "capacity"
        if refusal:
            no = Reject(reason=refusal, message="")
            self.send(broker, message(Kind.REJECT, no, no, epoch=epoch), robot)
            return
        self.sessions[robot] = broker, epoch, move
        if held is None or held[1] != epoch:
            self.pending.pop(robot, None)
        yes = terms(self.peer.name)
        self.send(broker, message(Kind.ACCEPT, yes, yes, epoch=epoch), robot)
        if held is not None and held[0] != broker:
            self._send_lost(held[0], robot, held[1])
        self._beat()

    def _send_lost(self, broker: int, robot: str, epoch: int) -> None:
        lost = Event(what="lost")
        self.send(broker, message(Kind.EVENT, lost, lost, epoch=epoch), robot)

    def _beat(self) -> None:
        self.progress += 1
        for k in range(len(self.heard_ns)):
            elsewhere = sum(held[0] != k for held in self.sessions.values())
            beat = Heartbeat(progress=self.progress, elsewhere=elsewhere)
            self.send(k, message(Kind.HEARTBEAT, beat), "")

    def _end(self, broker: int) -> None:
        for robot in [name for name, held in self.sessions.items() if held[0] == broker]:
            del self.sessions[robot]
            self.pending.pop(robot, None)

"""A robot of a site with several brokers: the real `BrokerRoute`, and the rest of it as
`transport/reference.md` describes it, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from holdfast.actors.broker.effects import Received, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.actors.network.broker_route import BrokerRoute
from holdfast.tests.properties.routing_peers import body_of, message, open_body
from holdfast.transport.bodies import Accept, Close, Event, Heartbeat, Open
from holdfast.transport.header import Header, Kind

MS = 1_000_000
BEAT_NS = 500 * MS
REOPEN_NS = 300 * MS


@dataclass
class ModelRobot:
    """`send(broker, message)`; `alive`: the brokers that run; `answered_ns`: when its last answer
    came; `left`: brokers that may hold a former session; `delivered`: (broker, epoch, seq)."""

    peer: Peer
    alive: dict[int, bool]
    route: BrokerRoute
    send: Callable[[int, Received], None]
    epoch: int = 0
    seq: int = 0
    state: str = "closed"
    waiting: int | None = None
    holder: str = ""
    answered_ns: int = 0
    reopen_ns: int = 0
    asks_ns: int = 0
    beat_ns: int = 0
    left: dict[int, int] = field(default_factory=dict)
    delivered: set[tuple[int, int, int]] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.peer.name

    def connected(self, broker: int) -> None:
        """By a new connection."""
        self.route.connection(broker, is_open=True)
        self.left.pop(broker, None)

    def live(self, now_ns: int) -> None:
        """Open a session, ask, move and beat, where that is due."""
        route = self.route
        if self.state == "closed" and now_ns >= self.reopen_ns:
            self.epoch += 1
            self.state, self.waiting, self.holder = "opening", None, ""
            self.reopen_ns = now_ns + 2_000 * MS
            self._open(route.begin(now_ns), now_ns)
        elif self.state == "opening" and now_ns >= self.reopen_ns:
            self._lose(now_ns)
        if self.state == "open" and self.waiting is None and now_ns >= self.asks_ns:
            self.seq += 1
            self.waiting = self.seq
            route.asked(now_ns)
            if not route.opening:
                self._ask()
        if self.state != "closed" and (to := route.due(now_ns)) is not None:
            self._open(to, now_ns)
        if now_ns >= self.beat_ns or route.probe_due(now_ns):
            self.beat_ns = now_ns + BEAT_NS
            self._beat_all(now_ns)

    def receive(self, broker: int, effect: ToRobot, now_ns: int) -> None:
        header, kind, route = effect.header, effect.header.kind, self.route
        beat = kind is Kind.HEARTBEAT
        route.heard(broker, now_ns, header.token if beat else 0)
        if beat and broker != route.current and not route.opening:
            self.left.pop(broker, None)  # the CLOSE before it has arrived
        if kind in (Kind.REPLY, Kind.ERROR) and header.epoch == self.epoch:
            self._answered(broker, header, now_ns)
        if broker != route.current or header.epoch != self.epoch or self.state == "closed":
            return
        what = body_of(effect, Event).what if kind is Kind.EVENT else ""
        if kind is Kind.ACCEPT:
            self.state, self.holder = "open", body_of(effect, Accept).replica
            route.accepted(now_ns)
            if self.waiting is not None:
                self._ask()
        elif kind is Kind.REJECT or what == "lost":
            self.left.pop(broker, None)
            self._open(route.refused(now_ns), now_ns)
        elif what == "replayed":
            route.replayed(now_ns)

    def _beat_all(self, now_ns: int) -> None:
        route = self.route
        for k in [k for k, alive in self.alive.items() if alive]:
            claims = k == route.current and self.state != "closed"
            if k != route.current and k in self.left and not route.opening:
                self.send(k, message(Kind.CLOSE, Close(), epoch=self.left[k]))
            waits = self.waiting if claims and not route.opening else None
            header = {"epoch": self.epoch if claims else 0, "seq": waits or 0}
            route.beaten(k, now_ns)
            self.send(k, message(Kind.HEARTBEAT, Heartbeat(progress=1), token=now_ns, **header))

    def _open(self, broker: int | None, now_ns: int) -> None:
        """Send the OPEN to `broker`, or to the next one that is connected."""
        while broker is not None and not self.alive[broker]:
            broker = self.route.refused(now_ns)
        if broker is None:
            self._lose(now_ns)
            return
        self.left[broker] = self.epoch
        opening = open_body(self.name, "s")
        body: Open = replace(opening, move=self.route.move, holder=self.holder)
        self.send(broker, message(Kind.OPEN, body, body, epoch=self.epoch))

    def _ask(self) -> None:
        asked = message(Kind.REQUEST, epoch=self.epoch, seq=self.waiting or 0)
        self.send(self.route.current, asked)

    def _lose(self, now_ns: int) -> None:
        self.state, self.waiting, self.route.opening = "closed", None, False
        self.reopen_ns = now_ns + REOPEN_NS

    def _answered(self, broker: int, header: Header, now_ns: int) -> None:
        if header.kind is Kind.ERROR and broker != self.route.current:
            return
        if header.kind is Kind.REPLY:
            once = broker, header.epoch, header.seq
            assert once not in self.delivered, "a broker delivers an answer once"
            self.delivered.add(once)
        if self.waiting == header.seq:
            self.waiting = None
            self.route.answered(now_ns)
            self.asks_ns = now_ns + 100 * MS
            if header.kind is Kind.REPLY:
                self.answered_ns = now_ns

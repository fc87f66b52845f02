"""The broker actor: routes between robots (front) and inference replicas (back).

A thin shell around `Routing`: one poll, a short list of handlers, and the sends that the core asks
for. It reads headers, and bodies of control messages only; requests and replies pass through as the
frames they came in. No send blocks: what a socket does not take is counted, and the core decides
whether it is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import zmq

from ...errors import KeyFileError, RefusedError, WireError
from ...transport import bodies, messages, sockets
from ...transport.header import Kind
from ...transport.keys import Role
from ...transport.poll import Poll, ms_until
from ..runtime import allocator
from ..runtime.actor import Actor
from ..runtime.configs import BrokerConfig
from .answer_log import AnswerLog
from .arrival import Arrival
from .counters import Rate
from .effects import Effect, Log, ToReplica, ToRobot
from .gathering import gather_ns
from .listener import Listener
from .memory_guard import MemoryGuard
from .peer_keys import PeerKeys
from .peers import label, peer_of
from .routing import Routing, Why
from .stop_exchange import StopExchange

TICK_NS = 50_000_000
RETRY_NS = 2_000_000
"""How soon to try again what a full socket did not take: its I/O thread needs microseconds."""
REPORT_NS = 250_000_000
PROBE_NS = 10_000_000
"""Peers are not probed more often than this when connections break."""
MESSAGES_PER_TURN = 64
REPLICA_HWM = 64
"""A replica has many robots: several may ask within the millisecond in which libzmq reports that an
earlier message left. With 8, and 300 robots at two replicas, two requests of five had to wait."""
ROWS = (128, 48, 16, 4, 0)
LINGER_MS = 100
MEMORY_NS = 50_000_000
"""How often the memory is checked: a fast peer on this host sends 50 MB in that time."""


class BrokerActor(Actor):
    """One broker: two listeners, the routing core between them, and its status."""

    kind = "broker"
    Config = BrokerConfig

    def setup(self) -> None:
        config: BrokerConfig = self.config
        previous = self.board.previous() or {}
        allocator.one_arena()  # before libzmq has threads: what they hold can then be given back
        self._context: sockets.Context = zmq.Context()
        self.resources.callback(self._context.destroy, linger=LINGER_MS)
        try:
            identity = f"{self.name}:{self.incarnation}"
            self._keys = PeerKeys.of(config, self._context, self.log, identity)
            self._front = self._listener(config.front, config.front_tcp)
            self._back = self._listener(config.back, config.back_tcp, REPLICA_HWM)
        except KeyFileError as problem:
            raise RefusedError(str(problem)) from problem
        if config.insecure and self._keys is None:
            reached = config.front_tcp or config.front
            self.log.warning("insecure: any peer that reaches %s commands the robots", reached)
        self._routing = Routing(
            config,
            identity,
            time.monotonic_ns(),
            previous.get("counters"),
        )
        self._stops = StopExchange(config, self.rundir, self.log)
        self._answers = AnswerLog(config, self.rundir)
        self.resources.callback(self._answers.close)
        self._rate = Rate()
        self._retry_ns: int | None = None
        """When to try again what full sockets did not take, if there is something."""
        if self._keys is not None:
            self.resources.callback(self._keys.close)
        self.resources.callback(self._notify_peers)

    def run(self) -> None:
        poll = Poll(self.link.fileno())
        disconnected = False
        for listener in (self._front, self._back):
            disconnected |= listener.disconnected()
            listener.watch(poll)
        guard = MemoryGuard((self._front, self._back), self._routing, self.config, self.log)
        if self._keys is not None:
            self._keys.watch(poll)
        tick_ns = report_ns = probe_ns = memory_ns = time.monotonic_ns()
        turned_ns, more = 0, False
        self.ready()
        while not self.stopping:
            now_ns = time.monotonic_ns()
            settled = [each.socket for each in (self._back, self._front) if each.settled]
            if sleep_ns := gather_ns(self._routing.sessions, turned_ns, now_ns, more=more):
                time.sleep(sleep_ns / 1e9)
                now_ns = time.monotonic_ns()
            wake_ns = tick_ns if self._retry_ns is None else min(tick_ns, self._retry_ns)
            awake = poll.wait(ms_until(wake_ns, now_ns), settled=settled)
            now_ns = turned_ns = time.monotonic_ns()
            more = False
            if self._keys is not None and self._keys.turn(awake, now_ns):
                self._follow_keys(now_ns)
            for listener in (self._back, self._front):
                if listener.socket in awake:
                    more |= self._receive(listener, now_ns)
                if listener.monitor in awake:
                    disconnected |= listener.disconnected()
            if self.link.fileno() in awake:
                self.refuse_commands()
                if self.reconfigured():
                    self._routing.reconfigured(self.config)
            if disconnected and now_ns >= probe_ns:
                disconnected, probe_ns = False, now_ns + PROBE_NS
                self._carry_out(self._routing.disconnected(now_ns), now_ns)
            if now_ns >= tick_ns:
                tick_ns = now_ns + TICK_NS
                self._carry_out(self._routing.tick(now_ns), now_ns)
                self._pass_stops(now_ns)
                self._answers.keep(self._routing.answers(), now_ns)
            elif self._retry_ns is not None and now_ns >= self._retry_ns:
                # Not a tick, which looks at much more: this follows each burst of requests.
                self._retry_ns = None
                self._carry_out(self._routing.retry(now_ns), now_ns)
            if now_ns >= report_ns:
                self._follow_keys(now_ns)
                self._report(now_ns)
                report_ns = now_ns + REPORT_NS
            if now_ns >= memory_ns:
                guard.check(poll, now_ns)
                memory_ns = now_ns + MEMORY_NS
            self.board.progress()

    def _notify_peers(self) -> None:
        """Notify the robots that this broker ends, and write the last report."""
        now_ns = time.monotonic_ns()
        effects = self._routing.shutdown()
        self._carry_out(effects, now_ns)
        if effects:
            # A DEALER that is IMMEDIATE discards unread messages when the connection ends.
            time.sleep(LINGER_MS / 1000)
        self._report(now_ns)

    # Called by the loop

    def _receive(self, listener: Listener, now_ns: int) -> bool:
        """Handle at most MESSAGES_PER_TURN messages of those that have arrived, so that neither
        listener keeps the other waiting. Returns whether there may be more."""
        for _ in range(MESSAGES_PER_TURN):
            arrival = listener.receive()
            if arrival is None:
                return False
            self._receive_one(listener, arrival, now_ns)
            if not listener.has_message():
                return False
        return True

    def _receive_one(self, listener: Listener, arrival: Arrival, now_ns: int) -> None:
        keys = self._keys
        if keys is not None and keys.is_revoked(arrival.key):
            # Its peer gets no answer: it learns the reason when it connects again.
            self._routing.counters.count("revoked-key", label(arrival.identity))
            return
        if self._routing.ignores(arrival.identity, now_ns):
            return
        if keys is not None and self._answers_about_keys(keys, listener, arrival, now_ns):
            return
        try:
            effects = self._handle(listener, arrival, now_ns)
        except WireError as error:
            asked = arrival.header if listener is self._front else None
            effects = self._routing.malformed(arrival.identity, error, now_ns, asked)
        self._carry_out(effects, now_ns)

    def _answers_about_keys(
        self, keys: PeerKeys, listener: Listener, arrival: Arrival, now_ns: int
    ) -> bool:
        """Answer a peer that enrols, or another broker; False for all others."""
        role = Role.ROBOT if listener is self._front else Role.REPLICA
        try:
            answer = keys.answer(arrival, role, now_ns)
        except WireError as error:
            self._routing.counters.count(error.reason, label(arrival.identity))
            return True
        if answer is None:
            return False
        frames, enrolled = answer
        if enrolled:
            self._follow_keys(now_ns)  # before the peer connects with its key
        listener.send(frames)
        return True

    def _follow_keys(self, now_ns: int) -> None:
        """Accept the keys that are there now; end the sessions of those that were revoked."""
        if self._keys is not None and (revoked := self._keys.follow()):
            self._carry_out(self._routing.revoked(revoked, now_ns), now_ns)

    def _pass_stops(self, now_ns: int) -> None:
        self._stops.turn(now_ns, lambda frames: self._front.send(frames) is None)
        self._routing.knows(self._stops.digest)

    def _handle(self, listener: Listener, arrival: Arrival, now_ns: int) -> list[Effect]:
        """Read what the core needs of a message, and let it decide. Raises WireError."""
        if arrival.broken:
            raise WireError(arrival.broken, arrival.excess)
        front = listener is self._front
        role = Role.ROBOT if front else Role.REPLICA
        peer = peer_of(arrival.identity, arrival.user, arrival.key, role)
        if front:
            message = arrival.from_robot()
            if self._stops.heard(arrival.identity, peer.name, message.body, now_ns):
                self._pass_stops(now_ns)
            about_stops = message.header.kind is Kind.STOPS
            return [] if about_stops else self._routing.from_robot(peer, message, now_ns)
        robot, message = arrival.from_replica()
        return self._routing.from_replica(peer, robot, message, now_ns)

    def _carry_out(self, effects: Sequence[Effect], now_ns: int) -> None:
        """Do what the core decided, in order. After a peer's first failed send nothing more of this
        batch is tried with it, so that a request never overtakes the OPEN it depends on."""
        blocked: dict[tuple[bool, bytes], Why] = {}
        waiting = list(effects)
        for effect in waiting:  # what cannot be delivered adds to it
            if isinstance(effect, Log):
                self._log(effect)
                continue
            way = isinstance(effect, ToRobot), effect.identity
            why = (blocked and blocked.get(way)) or self._send(effect)
            if why is not None:
                blocked[way] = why
                waiting += self._routing.undelivered(effect, why, now_ns)
        if blocked and self._retry_ns is None and self._routing.waits():
            self._retry_ns = now_ns + RETRY_NS

    def _send(self, effect: ToRobot | ToReplica) -> Why | None:
        payload = effect.payload
        frames: Sequence[Any] = (
            messages.encode(effect.header, payload) if isinstance(payload, bodies.Body) else payload
        )
        if isinstance(effect, ToRobot):
            return self._front.send([effect.identity, *frames])
        return self._back.send([effect.identity, effect.robot.encode(), *frames])

    def _log(self, line: Log) -> None:
        fields = " ".join(f"{name}={value}" for name, value in line.fields.items())
        more = f" ({line.suppressed} more since)" if line.suppressed else ""
        self.log.log(line.level, "%s: %s%s", line.event, fields, more)

    def _report(self, now_ns: int) -> None:
        """Write the status to the board, with as many rows as it has room for."""
        for rows in ROWS:
            if self.board.report(self._status(now_ns, rows)):
                return

    def _status(self, now_ns: int, rows: int) -> dict[str, Any]:
        status = self._routing.status(now_ns, rows)
        status["requests_per_s"] = self._rate.read(status["requests"], now_ns)
        status["insecure"] = self.config.insecure
        if self._keys is not None:
            status |= self._keys.status(rows // 6)
        return status

    def _listener(self, endpoint: str, tcp: str | None, hwm: int = sockets.ROUTER_HWM) -> Listener:
        listener = Listener(
            self._context,
            endpoint,
            tcp,
            key=self._keys.own if self._keys is not None else None,
            authenticator=self._keys.authenticator if self._keys is not None else None,
            insecure=self.config.insecure,
            hwm=hwm,
        )
        self.resources.callback(listener.close, LINGER_MS)
        return listener

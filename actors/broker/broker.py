"""The broker actor: routes between robots (front) and inference replicas (back).

A thin shell around `Routing`: one poll, a short list of handlers, and the sends that the core asks
for. It reads headers, and bodies of control messages only; requests and replies pass through as the
frames they came in. No send ever waits: what does not go is counted, and the core decides whether
it is tried again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import zmq

from ...errors import KeyFileError, RefusedError, WireError
from ...transport import messages, sockets
from ...transport.header import Header, Kind
from ...transport.keyring import FollowedRing
from ...transport.keys import MAX_STRANGERS, Authenticator, Key, Role, load
from ...transport.poll import Poll
from ..runtime import allocator
from ..runtime.actor import Actor
from ..runtime.configs import BrokerConfig
from .counters import Rate
from .effects import Effect, Log, Received, ToRobot
from .listener import Arrival, Listener
from .memory_bound import max_growth_bytes
from .peers import Peer, label
from .routing import Routing, Why

TICK_NS = 50_000_000
RETRY_NS = 2_000_000
"""How soon to try again what a full socket did not take: its I/O thread needs microseconds."""
REPORT_NS = 250_000_000
PROBE_NS = 10_000_000
"""Not more often than this are all peers probed because connections break."""
MESSAGES_PER_TURN = 64
ROWS = (128, 48, 16, 4, 0)
FAREWELL_MS = 100
REOPEN_NS = 1_000_000_000
"""libzmq needs some of it to free what closed connections held."""
MEMORY_NS = 50_000_000
"""How often the memory is looked at: a fast peer on this host sends 50 MB in that time."""

ACTED_UPON = frozenset(
    {
        Kind.OPEN,
        Kind.REGISTER,
        Kind.HEARTBEAT,
        Kind.DRAIN,
        Kind.ACCEPT,
        Kind.REJECT,
        Kind.EVENT,
        Kind.INQUIRY,
        Kind.VERDICT,
    }
)
"""Kinds whose body the core needs; all others pass unread."""


class BrokerActor(Actor):
    """See the module."""

    kind = "broker"
    Config = BrokerConfig

    def setup(self) -> None:
        config: BrokerConfig = self.config
        previous = self.board.previous() or {}
        allocator.one_arena()  # before libzmq has threads: what they hold can then be given back
        self._context: sockets.Context = zmq.Context()
        self.resources.callback(self._context.destroy, linger=FAREWELL_MS)
        self._doors: list[Listener] = []
        self._authenticator: Authenticator | None = None
        try:
            key = self._security(config)
            self._front = self._door(config.front, config.front_tcp, key)
            self._back = self._door(config.back, config.back_tcp, key)
        except KeyFileError as problem:
            raise RefusedError(str(problem)) from problem
        if config.insecure and key is None:
            reached = config.front_tcp or config.front
            self.log.warning("insecure: whoever reaches %s commands the robots", reached)
        self._routing = Routing(
            config,
            f"{self.name}:{self.incarnation}",
            time.monotonic_ns(),
            previous.get("counters"),
        )
        self._rate = Rate()
        self._retry = False
        self._limit_bytes = None if config.memory_mb is None else config.memory_mb * 1_000_000
        self._reopened: Listener | None = None
        self._reopened_ns = -REOPEN_NS
        self._told: deque[str] = deque(maxlen=2 * MAX_STRANGERS)
        """Keys that the log has named."""
        self.resources.callback(self._notify_peers)

    def run(self) -> None:
        poll = Poll(self.link.fileno())
        broke = False
        for door in self._doors:
            broke |= door.broke()
            door.watch(poll)
        watermark = allocator.MemoryWatermark(allocator.private_bytes())
        if self._authenticator is not None:
            poll.add(self._authenticator.socket)
        tick = report = probe = memory = time.monotonic_ns()
        self.ready()
        while not self.stopping:
            now = time.monotonic_ns()
            # Rounded up: to wake early would be to spin until the tick.
            awake = poll.wait(max(0, -(-(tick - now) // 1_000_000)))
            now = time.monotonic_ns()
            if self._authenticator is not None and self._authenticator.socket in awake:
                self._authenticator.handle()
            for door in (self._back, self._front):
                if door.socket in awake:
                    self._drain(door, now)
                if door.monitor in awake:
                    broke |= door.broke()
            if self.link.fileno() in awake:
                self.refuse_commands()
            if broke and now >= probe:
                broke, probe = False, now + PROBE_NS
                self._carry_out(self._routing.disconnected(now), now)
            if self._retry:
                tick = min(tick, now + RETRY_NS)
            if now >= tick:
                self._carry_out(self._routing.tick(now), now)
                self._retry = self._routing.waits()
                tick = now + (RETRY_NS if self._retry else TICK_NS)
            if now >= report:
                if self._authenticator is not None:
                    self._follow_keys(now)
                self._report(now)
                report = now + REPORT_NS
            if now >= memory:
                self._bound_memory(watermark, poll, now)
                memory = now + MEMORY_NS
            self.board.progress()

    def _notify_peers(self) -> None:
        """Tell robots and replicas that this broker ends, and report for the last time."""
        now = time.monotonic_ns()
        farewell = self._routing.farewell()
        self._carry_out(farewell, now)
        if farewell:
            # A DEALER that is IMMEDIATE forgets what it has not read when the connection ends.
            time.sleep(FAREWELL_MS / 1000)
        self._report(now)

    # What the loop calls

    def _drain(self, door: Listener, now: int) -> None:
        """Handle what has arrived, boundedly: a flood at one door must not starve the other."""
        for _ in range(MESSAGES_PER_TURN):
            arrival = door.receive()
            if arrival is None:
                return
            if self._is_revoked(arrival) or self._routing.ignores(arrival.identity, now):
                continue
            try:
                effects = self._handle(door, arrival, now)
            except WireError as error:
                asked = _header(arrival) if door is self._front else None
                effects = self._routing.malformed(arrival.identity, error, now, asked)
            self._carry_out(effects, now)

    def _is_revoked(self, arrival: Arrival) -> bool:
        """Whether it came through a connection that would not be let in any more. Its peer hears
        nothing, and learns why when it connects anew."""
        if not arrival.key or self._followed.ring.peer(arrival.key.encode()) is not None:
            return False
        self._routing.tally.count("revoked-key", label(arrival.identity))
        return True

    def _follow_keys(self, now: int) -> None:
        """Let in who is in the directory of keys now, and shut out who is not."""
        assert self._authenticator is not None, "there is a ring where there is an authenticator"
        gone = self._followed.follow()
        if gone is not None:
            self._authenticator.ring = self._followed.ring
            self.log.info("%d keys are let in now", len(self._followed.ring))
            for problem in self._followed.problems:
                self.log.warning("a key is not used: %s", problem)
            self._carry_out(self._routing.revoked({key.decode() for key in gone}, now), now)
        for stranger in list(self._authenticator.strangers.values()):
            if stranger.key not in self._told:
                self._told.append(stranger.key)
                self.log.warning(
                    "a peer at %s was refused: its key %s is not in %s",
                    stranger.address,
                    stranger.key,
                    self.config.keyring,
                )

    def _bound_memory(self, watermark: allocator.MemoryWatermark, poll: Poll, now: int) -> None:
        """Give back what a flood left, and end what still grows: libzmq keeps the frames of a
        message that its sender never ends, and only the sender's connection holds them."""
        low = watermark.low_bytes
        most = max_growth_bytes(self._routing.sessions, low, self._limit_bytes)
        state = watermark.check(allocator.private_bytes(), most, now)
        if state and now >= watermark.next_trim_ns:
            allocator.give_back()
            watermark.trimmed(allocator.private_bytes(), now)
            state = watermark.check(allocator.private_bytes(), most, now)
        if state == "exceeded" and now >= self._reopened_ns + REOPEN_NS:
            # One after the other, robots first: ending what is no flood would cost a service.
            again = now < self._reopened_ns + 5 * REOPEN_NS and self._reopened is self._front
            door = self._reopened = self._back if again else self._front
            self._reopened_ns = now
            self._routing.tally.count("doors-reopened")
            self.log.error(
                "peers fill the memory (%d MB, at most %d): all connections to %s end and are made "
                "anew",
                allocator.private_bytes() // 1_000_000,
                (low + most) // 1_000_000,
                door.endpoint,
            )
            door.unwatch(poll)
            door.reopen()
            door.watch(poll)
            watermark.next_trim_ns = now + REOPEN_NS // 2

    def _handle(self, door: Listener, arrival: Arrival, now: int) -> list[Effect]:
        """Read what the core needs of a message, and let it decide. Raises WireError."""
        if arrival.broken:
            raise WireError(arrival.broken, arrival.excess)
        role = Role.ROBOT if door is self._front else Role.REPLICA
        name, incarnation = sockets.peer(arrival.identity, arrival.user, role)
        peer = Peer(arrival.identity, name, incarnation, arrival.key)
        if door is self._front:
            return self._routing.from_robot(peer, _read(arrival.frames), now)
        robot = _robot(arrival.frames)
        return self._routing.from_replica(peer, robot, _read(arrival.frames[1:]), now)

    def _carry_out(self, effects: Sequence[Effect], now: int) -> None:
        """Do what the core decided, in order. After a peer's first failed send nothing more of this
        batch is tried with it, so that a request never overtakes the OPEN it depends on."""
        waiting = deque(effects)
        blocked: dict[tuple[bool, bytes], Why] = {}
        while waiting:
            effect = waiting.popleft()
            if isinstance(effect, Log):
                self._log(effect)
                continue
            way = isinstance(effect, ToRobot), effect.identity
            why = blocked.get(way) or self._send(effect)
            if why is not None:
                blocked[way] = why
                waiting.extend(self._routing.undelivered(effect, why, now))
                self._retry = True

    def _send(self, effect: Any) -> Why | None:
        payload = effect.payload
        if isinstance(payload, messages.Body):
            payload = messages.encode(effect.header, payload)
        if isinstance(effect, ToRobot):
            return self._front.send([effect.identity, *payload])
        return self._back.send([effect.identity, effect.robot.encode(), *payload])

    def _log(self, line: Log) -> None:
        fields = " ".join(f"{name}={value}" for name, value in line.fields.items())
        more = f" ({line.suppressed} more since)" if line.suppressed else ""
        self.log.log(line.level, "%s: %s%s", line.event, fields, more)

    def _report(self, now: int) -> None:
        """Put the status on the board, with as many rows as it has room for."""
        for rows in ROWS:
            if self.board.report(self._status(now, rows)):
                return

    def _status(self, now: int, rows: int) -> dict[str, Any]:
        status = self._routing.status(now, rows)
        status["requests_per_s"] = self._rate.of(status["requests"], now)
        status["insecure"] = self.config.insecure
        if self._authenticator is not None:
            status["refused_keys"] = dict(self._authenticator.refused)
            last = list(self._authenticator.strangers.values())[-(rows // 6) :] if rows else []
            status["strangers"] = [asdict(stranger) for stranger in last]
        return status

    # Setting up

    def _security(self, config: BrokerConfig) -> Key | None:
        """The broker's key, with the authenticator in place that lets its peers in."""
        if config.key is None and config.keyring is None:
            return None
        if config.key is None or config.keyring is None:
            raise KeyFileError(
                f"the broker has key {config.key} and keyring {config.keyring}: it needs both, its "
                "own secret key and the directory of its peers' public ones"
            )
        key = load(Path(config.key))
        if key.peer.role is not Role.BROKER:
            raise KeyFileError(f"{config.key} is the key of {key.peer}: the broker needs its own")
        self._followed = FollowedRing(Path(config.keyring))
        self._authenticator = Authenticator(self._context, self._followed.ring)
        return key

    def _door(self, endpoint: str, tcp: str | None, key: Key | None) -> Listener:
        door = Listener(
            self._context,
            endpoint,
            tcp,
            key=key,
            authenticator=self._authenticator,
            insecure=self.config.insecure,
        )
        self._doors.append(door)
        self.resources.callback(door.close, FAREWELL_MS)
        return door


def _read(frames: list[Any]) -> Received:
    """A message with its header read, and its body if the core acts upon it. Raises WireError."""
    messages.check(frames)
    header = Header.unpack(frames[0])
    body = messages.decode(frames[:2]).body if header.kind in ACTED_UPON else None
    return Received(header, frames, body)


def _header(arrival: Arrival) -> Header | None:
    """What the header of a message that was refused says; None where it cannot be read."""
    try:
        return Header.unpack(arrival.frames[0])
    except (WireError, IndexError):
        return None


def _robot(frames: list[Any]) -> str:
    """The robot's name ahead of a replica's message. Raises WireError."""
    try:
        return bytes(frames[0]).decode()
    except (IndexError, UnicodeDecodeError) as error:
        raise WireError("robot", "a replica's message begins with the robot's name") from error

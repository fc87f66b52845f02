"""The network actor: relays between one robot's control actor and the broker.

Control speaks the wire protocol to it over ipc; it adds what control must not touch (images, names
of cameras, the offer of shared memory) and passes messages on, both ways. `SessionRelay` decides
which ones. Nothing blocks and nothing is queued: a message that cannot be sent now is dropped and
counted and, where control waits for an answer, answered with an ERROR.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import cv2
import msgspec
import zmq

from ...errors import StaleFrameError, WireError
from ...transport import bodies, messages, sockets
from ...transport.arrays import Buffer
from ...transport.bodies import Accept, Error, Event, Heartbeat, Reject
from ...transport.connection import Connection
from ...transport.header import Header, Kind
from ...transport.messages import Blobs, unreadable
from ...transport.poll import Poll
from ..runtime.actor import Actor
from ..runtime.configs import NetworkConfig
from ..runtime.credentials import credentials
from .control_link import ControlLink
from .executed_log import ExecutedLog
from .latest_vitals import LatestVitals
from .opening import completed
from .request_audit import RequestAudit
from .request_images import RequestImages
from .session_relay import TAKEOVER_NS, Decision, Disposition, Phase, SessionRelay

_REPORT_NS = 250_000_000
_CONTROL_HEARTBEAT_NS = 200_000_000
_TICK_MS = 50
UNREACHABLE_RETRY_S = 0.5
"""Control is notified when the broker answers again; it retries in case that message is lost."""


class NetworkActor(Actor):
    """One robot's network actor: sockets to control and to the broker, and the relay between."""

    kind = "network"
    Config = NetworkConfig

    def setup(self) -> None:
        cv2.setNumThreads(1)
        config: NetworkConfig = self.config
        self._images = RequestImages(config, self.segment)
        self._terms: Accept | None = None
        self._service = config.service
        """What the last handshake asked for."""
        self._vitals = LatestVitals(script=config.script)
        self._own_actions: tuple[str, ...] = ()
        self._dropped: Counter[str] = Counter()
        self._bytes_out = self._bytes_in = 0
        self._audit = RequestAudit(config, self.rundir)
        self.resources.callback(self._audit.close)
        self._executed = self._executed_log()
        self._context: sockets.Context = zmq.Context()
        self.resources.callback(sockets.unlink_stale, config.control)
        # Long enough for the last two messages to leave: a socket discards unsent ones on close.
        self.resources.callback(self._context.destroy, linger=100)
        self._control = ControlLink(self._context, config.control, config.robot, self._dropped)
        key, server = credentials(self.name, config.key, config.broker_key)
        lost_after_ns = round(config.broker_lost_after_s * 1e9)
        self._relay = SessionRelay(lost_after_ns)
        self._broker = Connection(
            self._context,
            config.broker,
            f"{config.robot}:{self.incarnation}",
            key=key,
            server=server,
            lost_after_ns=lost_after_ns,
        )
        self.resources.callback(self._broker.close)
        self._reported = ""
        self.resources.callback(self._end_session)

    def run(self) -> None:
        self.ready()
        poll = Poll(self._control.socket, self.link.fileno())
        self._broker.watch(poll)
        tick_ns = time.monotonic_ns()
        self._broker_beat_ns = self._control_beat_ns = self._report_ns = tick_ns
        while not self.stopping:
            ready = poll.wait(_TICK_MS)
            now_ns = time.monotonic_ns()
            if self._control.socket in ready:
                self._receive(self._control.socket, self._from_control)
            if self._broker.socket in ready:
                self._receive(self._broker.socket, self._from_broker)
            connected = self._broker.connected(ready)
            if self.link.fileno() in ready:
                self.refuse_commands()
            if connected or now_ns >= tick_ns:
                self._watch_broker(connected, now_ns)
                self._tick(now_ns)
                tick_ns = now_ns + _TICK_MS * 1_000_000
            self.board.progress()

    def _tick(self, now_ns: int) -> None:
        """Notice silence; send the heartbeats and the report that are due."""
        silent = self._relay.tick(now_ns)
        if silent is not None:
            self.log.warning("session lost: %s", silent.message)
            self._send_lost(silent.message)
        if now_ns >= self._broker_beat_ns:
            self._beat(now_ns)
            self._broker_beat_ns = now_ns + round(self.config.heartbeat_s * 1e9)
        if now_ns >= self._control_beat_ns:
            beat = Heartbeat(progress=self.board.turns)
            about = Header(Kind.HEARTBEAT, epoch=self._relay.epoch)
            self._control.reply(self._control.identity, about, beat)
            self._control_beat_ns = now_ns + _CONTROL_HEARTBEAT_NS
        if now_ns >= self._report_ns:
            if self._executed is not None:
                self._executed.drain()
            self.board.report(self._status())
            self._report_ns = now_ns + _REPORT_NS

    def _executed_log(self) -> ExecutedLog | None:
        config: NetworkConfig = self.config
        if config.plan is None or config.executed_bytes == 0:
            return None
        memory = memoryview(self.segment(config.plan))
        log = ExecutedLog.of(config, self.rundir, memory, first=self.incarnation <= 1)
        self.resources.callback(log.close)
        return log

    def _end_session(self) -> None:
        """Close the session, and notify both peers."""
        if self._relay.phase is not Phase.CLOSED:
            close = Header(Kind.CLOSE, epoch=self._relay.epoch)
            frames = messages.encode(close, bodies.Close(reason="stopping"))
            sockets.send(self._broker.socket, frames)
            self._send_lost("the network actor is stopping")

    def _send_lost(self, reason: str) -> None:
        self._control.send_lost(self._control.identity, self._relay.epoch, reason)

    def _receive(self, socket: sockets.Socket, handle: Callable[[list[Buffer]], None]) -> None:
        """Handle one message, so that no peer starves the other; the poll names the next."""
        try:
            frames = sockets.receive(socket)
            if frames is not None:
                handle(frames)
        except WireError as error:
            self._dropped[error.reason] += 1

    def _from_control(self, frames: list[Buffer]) -> None:
        identity, *rest = frames
        if len(rest) < 2:
            return  # the first message of a connection, which only makes its identity known
        sender = bytes(identity)
        incarnation = self._control.incarnation_of(sender)
        header = Header.unpack(rest[0])
        message = self._decode(sender, header, rest)
        if header.kind is Kind.HEARTBEAT:
            self._vitals.heard(message.body.vitals, time.monotonic_ns())
            if not header.epoch:
                return  # control holds no session, and claims none
        decision = self._relay.from_control(header, incarnation, time.monotonic_ns())
        if decision.action is Disposition.LOST:
            self._control.send_lost(sender, header.epoch, decision.message)
        elif decision.action is Disposition.REFUSE:
            self._dropped[decision.reason] += 1
            refusal = Reject(
                reason=decision.reason, message=decision.message, retry_after_s=TAKEOVER_NS / 1e9
            )
            self._control.reply(sender, header, refusal)
        elif decision.action is Disposition.DROP:
            self._count(decision)
        elif header.kind is Kind.OPEN:
            self._control.identity = sender
            self._open(message)
        else:
            self._images.follow_episode(header, time.monotonic_ns())
            if header.kind is Kind.REQUEST:
                self._request(message)
            else:
                self._send(rest)

    def _decode(self, sender: bytes, header: Header, frames: list[Buffer]) -> messages.Message[Any]:
        """Read a message of control. Raises WireError, after answering where control waits for an
        answer."""
        try:
            return messages.decode(frames, header=header)
        except WireError as error:
            if answer := unreadable(header.kind, error):
                self._control.reply(sender, header, answer)
            raise

    def _watch_broker(self, connected: bool, now_ns: int) -> None:
        """Notify control, while it waits for a session, of changes of the broker's connection; ask
        the broker about a request that was under way when it broke."""
        if connected and self._audit.pending is not None:
            self._beat(now_ns)
        if self._broker.tick(now_ns):
            self.log.warning("connecting to the broker anew: %s", self._broker.reason)
        reason = self._broker.reason
        if reason == self._reported and not connected:
            return
        self._reported = reason
        if self._relay.phase is not Phase.CLOSED:
            return
        what, words = ("waiting", reason) if reason else ("available", self._service)
        about = Header(Kind.EVENT, epoch=self._relay.epoch)
        self._control.reply(self._control.identity, about, Event(what=what, message=words))

    def _from_broker(self, frames: list[Buffer]) -> None:
        header = Header.unpack(frames[0])
        self._broker.heard(time.monotonic_ns())
        self._bytes_in += sum(len(frame) for frame in frames)
        event = messages.decode(frames).body.what if header.kind is Kind.EVENT else ""
        decision = self._relay.from_broker(header, event, time.monotonic_ns())
        if decision.action is Disposition.DROP:
            self._count(decision)
            return
        asked = self._audit.pending
        if header.kind is Kind.ERROR and (asked is None or asked.seq != header.seq):
            self._dropped["answered"] += 1  # the answer came, and overtook a doubt about it
            return
        if header.kind is Kind.ACCEPT:
            frames = self._accepted(messages.decode(frames))
        elif header.kind is Kind.REPLY and self._images.oldest_ns:
            frames = self._with_age(header, frames)
        arrived_ns = time.monotonic_ns()
        self._control.send(frames)  # before the audit: control waits for it
        if header.kind in (Kind.REPLY, Kind.ERROR):
            self._audit.answered(header, self._terms, arrived_ns)

    def _accepted(self, message: messages.Message[Accept]) -> list[Buffer]:
        """Keep the terms; pass them on with control's own action names where they are equal."""
        self._terms = terms = message.body
        if terms.action_names == self.config.action_names:
            terms = msgspec.structs.replace(terms, action_names=self._own_actions)
        return messages.encode(message.header, terms, message.blobs)

    def _with_age(self, header: Header, frames: list[Buffer]) -> list[Buffer]:
        message: messages.Message[bodies.Reply] = messages.decode(frames, header=header)
        body = self._images.with_age(header, message.body)
        return messages.encode(header, body, message.blobs)

    def _open(self, message: messages.Message[bodies.Open]) -> None:
        """Complete control's OPEN by what only this process knows, with the policy's names."""
        self._own_actions, self._service = message.body.action_names, message.body.service
        body = completed(message.body, self.config, self._images.outbox, self.incarnation)
        self._terms = None
        if not self._send(messages.encode(message.header, body, message.blobs)):
            self._relay.unreachable()
            words = self._broker.reason or "the broker takes no message"
            refusal = Reject(reason="unreachable", message=words, retry_after_s=UNREACHABLE_RETRY_S)
            self._control.reply(self._control.identity, message.header, refusal)

    def _request(self, message: messages.Message[bodies.Request]) -> None:
        """Send a request with its images; answer it where that is not possible."""
        header, blobs = message.header, Blobs(message.blobs)
        now_ns = time.monotonic_ns()
        try:
            body = self._images.add(header, message.body, blobs, self._terms, now_ns)
        except StaleFrameError as stale:
            self._refuse(header, "stale-frame", str(stale))
            return
        frames = messages.encode(header, body, blobs)
        try:
            messages.check(frames)
        except WireError as error:
            self._refuse(header, error.reason, f"{error}: send smaller images, or JPEG")
            return
        if self._send(frames):
            self._audit.asked(header, self._images.ages_s, time.monotonic_ns())
        else:
            self._refuse(header, "unreachable", "the broker takes no message")

    def _refuse(self, header: Header, reason: str, message: str) -> None:
        self._dropped[reason] += 1
        self._control.reply(self._control.identity, header, Error(reason=reason, message=message))

    def _beat(self, now_ns: int) -> None:
        """Send a heartbeat, in every phase: the broker's answer shows that it is reachable."""
        # An epoch claims a session, and a seq a request: the broker answers at once when it does
        # not exist, so that control need not wait for a timeout, which is longer than most plans.
        held = self._relay.phase is not Phase.CLOSED
        header = Header(Kind.HEARTBEAT, epoch=self._relay.epoch if held else 0, token=now_ns)
        asked = self._audit.pending
        if held and asked is not None and asked.epoch == header.epoch:
            header = header._replace(seq=asked.seq, episode=asked.episode)
        beat = Heartbeat(progress=self.board.turns, vitals=self._vitals.current(now_ns))
        self._send(messages.encode(header, beat))

    def _send(self, frames: list[Buffer]) -> bool:
        if not sockets.send(self._broker.socket, frames):
            self._dropped["broker-full"] += 1
            return False
        self._bytes_out += sum(len(frame) for frame in frames)
        return True

    def _count(self, decision: Decision) -> None:
        if decision.reason != "heartbeat":
            self._dropped[decision.reason] += 1

    def _status(self) -> dict[str, object]:
        terms = self._terms
        return {
            "session": self._relay.phase,
            "broker": self._broker.reason,
            "reconnects": self._broker.remade,
            "epoch": self._relay.epoch,
            "replica": terms.replica if terms else None,
            "shm": bool(terms and terms.shm),
            "warnings": list(terms.warnings) if terms else [],
            "sent": self._audit.sent,
            "received": self._audit.received,
            "evidence_lost": self._audit.lost + (self._executed.lost if self._executed else 0),
            "bytes_out": self._bytes_out,
            "bytes_in": self._bytes_in,
            "frame_age_ms": self._images.frames.age_ms,
            "damaged": dict(self._images.frames.damaged),
            "dropped": dict(self._dropped),
        }

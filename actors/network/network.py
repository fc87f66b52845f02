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
from functools import partial
from typing import Any, TypeVar

import cv2
import msgspec
import zmq

from ...errors import WireError
from ...transport import bodies, messages, sockets
from ...transport.arrays import Buffer
from ...transport.bodies import Heartbeat, Reject
from ...transport.header import Header, Kind
from ...transport.messages import unreadable
from ...transport.poll import Poll
from ..runtime.actor import Actor
from ..runtime.configs import NetworkConfig
from ..runtime.own_keys import OwnKeys
from .answer_relay import AnswerRelay
from .broker_paths import BrokerPaths
from .control_link import ControlLink
from .direct_path import DirectPath
from .executed_log import ExecutedLog
from .latest_vitals import LatestVitals
from .opening import completed
from .request_audit import RequestAudit
from .request_images import RequestImages
from .request_sender import RequestSender
from .session_moves import SessionMoves
from .session_relay import TAKEOVER_NS, Disposition, Phase, SessionRelay
from .stop_relay import StopRelay
from .uplink import Uplink

_REPORT_NS = 250_000_000
_CONTROL_HEARTBEAT_NS = 200_000_000
_TICK_MS = 50
_WAITING_MS = 20
"""While another broker may have to be asked soon."""
T = TypeVar("T")
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
        self._service = config.service
        """What the last handshake asked for."""
        self._vitals = LatestVitals(script=config.script)
        self._host = self._host_board()
        self._dropped: Counter[str] = Counter()
        self._audit = RequestAudit(config, self.rundir)
        self.resources.callback(self._audit.close)
        first = self.incarnation <= 1
        self._executed = ExecutedLog.of(config, self.rundir, self.segment, first=first)
        if self._executed is not None:
            self.resources.callback(self._executed.close)
        self._context: sockets.Context = zmq.Context()
        # Long enough for the last two messages to leave: a socket discards unsent ones on close.
        self.resources.callback(self._context.destroy, linger=100)
        self._control = ControlLink(config.control, config.robot, self._dropped)
        self.resources.callback(self._control.close)
        keys = OwnKeys(config.robot, config.keys, config.brokers)
        keys.wait(self.wait_for, patient=not config.script)
        self._relay = SessionRelay(round(config.broker_lost_after_s * 1e9))
        identity = f"{config.robot}:{self.incarnation}"
        self._brokers = BrokerPaths(self._context, config, identity, keys)
        self.resources.callback(self._brokers.close)
        late_ns = round(config.direct_late_s * 1e9)
        self._direct = DirectPath(identity, late_ns, self._dropped)
        self.resources.callback(self._direct.close)
        self._session = SessionMoves(self._brokers, self._direct, self._relay, self.log)
        self._uplink = Uplink(config.max_uplink_kbps, config.jpeg_quality)
        self._requests = RequestSender(
            self._images, self._session, self._audit, self._uplink, self._control, self._dropped
        )
        self._answers = AnswerRelay(
            self._brokers,
            self._relay,
            self._session,
            self._control,
            self._images,
            self._audit,
            config.action_names,
            self._dropped,
            self.log,
        )
        self._stops = StopRelay.of(config, self.name, self.rundir, self.log, self._vitals)
        self.resources.callback(self._stops.close)
        self._reported = ""
        self.resources.callback(self._end_session)

    def run(self) -> None:
        self.ready()
        poll = Poll(self.link.fileno())
        self._control.watch(poll)
        self._brokers.watch(poll)
        self._direct.watch(poll)
        tick_ns = time.monotonic_ns()
        self._control_beat_ns = self._report_ns = tick_ns
        while not self.stopping:
            tick_ms = _WAITING_MS if self._impatient else _TICK_MS
            ready = poll.wait(self._images.wait_ms(tick_ms))
            now_ns = time.monotonic_ns()
            for peer in self._control.ready(ready):
                self._receive(partial(self._control.receive, peer), self._from_control)
            if self._direct.awake(ready):
                self._receive(self._direct.receive, self._answers.from_replica)
                if self._direct.route.late(now_ns) is not None:  # the replica has ended
                    self._session.follow(now_ns)
            for k, connection in enumerate(self._brokers.connections):
                if connection.socket in ready:
                    self._receive(
                        partial(sockets.receive, connection.socket), partial(self._from_broker, k)
                    )
            self._images.copy_overdue(now_ns)
            connected = self._brokers.connected(ready)
            if self.link.fileno() in ready:
                self.refuse_commands()
            if connected or now_ns >= tick_ns:
                self._watch_brokers(connected, now_ns)
                self._tick(now_ns)
                tick_ns = now_ns + tick_ms * 1_000_000
            self.board.progress()

    @property
    def _impatient(self) -> bool:
        """Whether a broker may have to be asked soon."""
        return self._brokers.impatient or self._direct.route.pending is not None

    def _tick(self, now_ns: int) -> None:
        """Notice silence; send the heartbeats and the report that are due."""
        silent = self._relay.tick(now_ns)
        if silent is not None:
            self.log.warning("session lost: %s", silent.message)
            self._send_lost(silent.message)
        state = self._state(now_ns)
        if self._brokers.beat_due(state, now_ns):
            self._brokers.beat(state, *self._heartbeat(now_ns), now_ns)
        if now_ns >= self._control_beat_ns:
            beat = Heartbeat(progress=self.board.turns)
            about = Header(Kind.HEARTBEAT, epoch=self._relay.epoch)
            self._control.reply(self._control.identity, about, beat)
            self._control_beat_ns = now_ns + _CONTROL_HEARTBEAT_NS
        self._stops.turn(now_ns, self._brokers.send)
        self._audit.keep(now_ns)
        self._uplink.measured(self._brokers.bytes_out, now_ns)
        if now_ns >= self._report_ns:
            if self._executed is not None:
                self._executed.drain()
            self.board.report(self._status())
            self._report_ns = now_ns + _REPORT_NS

    def _end_session(self) -> None:
        """Close the session, and notify both peers."""
        if self._relay.phase is not Phase.CLOSED:
            close = Header(Kind.CLOSE, epoch=self._relay.epoch)
            frames = messages.encode(close, bodies.Close(reason="stopping"))
            self._brokers.send(frames)
            self._send_lost("the network actor is stopping")

    def _send_lost(self, reason: str) -> None:
        self._control.send_lost(self._control.identity, self._relay.epoch, reason)

    def _receive(self, receive: Callable[[], T | None], handle: Callable[[T], None]) -> None:
        """Handle one message, so that no peer starves the other; the poll names the next."""
        try:
            came = receive()
            if came is not None:
                handle(came)
        except WireError as error:
            self._dropped[error.reason] += 1

    def _from_control(self, came: tuple[bytes, list[Buffer]]) -> None:
        sender, frames = came
        incarnation = self._control.incarnation_of(sender)
        header = Header.unpack(frames[0])
        message = self._decode(sender, header, frames)
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
            self._answers.count(decision)
        elif header.kind is Kind.OPEN:
            self._control.identity = sender
            self._open(message)
        else:
            self._images.follow_episode(header, time.monotonic_ns())
            if header.kind is Kind.REQUEST:
                self._requests.send(message)
            else:
                if header.kind is Kind.RESET:
                    self._session.forget()
                if not self._brokers.send(frames):
                    self._dropped["broker-full"] += 1

    def _decode(self, sender: bytes, header: Header, frames: list[Buffer]) -> messages.Message[Any]:
        """Read a message of control. Raises WireError, after answering where control waits for an
        answer."""
        try:
            return messages.decode(frames, header=header)
        except WireError as error:
            if answer := unreadable(header.kind, error):
                self._control.reply(sender, header, answer)
            raise

    def _watch_brokers(self, connected: list[int], now_ns: int) -> None:
        """Notify control, while it waits for a session, of changes of the brokers' connections; ask
        a broker about a request that was under way when its connection broke; leave one that does
        not answer."""
        for broker in connected:
            self._brokers.beat_one(broker, *self._heartbeat(now_ns), now_ns)
        for lost in self._brokers.tick(now_ns):
            self.log.warning("connecting to the broker anew: %s", lost)
        self._session.follow(now_ns)
        reason = self._brokers.reason
        if reason != self._reported or connected:
            self._reported = reason
            if self._relay.phase is Phase.CLOSED:
                self._control.send_reachable(self._relay.epoch, self._service, reason)

    def _from_broker(self, broker: int, frames: list[Buffer]) -> None:
        if not self._stops.heard(broker, frames):
            self._answers.from_broker(broker, frames)

    def _open(self, message: messages.Message[bodies.Open]) -> None:
        """Complete control's OPEN by what only this process knows, with the policy's names."""
        self._answers.own_actions = message.body.action_names
        self._service = message.body.service
        body = completed(message.body, self.config, self._images.outbox, self.incarnation)
        if self.config.script:  # the broker tells which stops are in force before it answers
            now_ns = time.monotonic_ns()
            beat = Header(Kind.HEARTBEAT, token=now_ns), self._heartbeat(now_ns)[1]
            self._brokers.send(messages.encode(*beat))
        if not self._session.open(message.header, body, time.monotonic_ns()):
            self._dropped["broker-full"] += 1
            self._relay.unreachable()
            words = self._brokers.reason or "the broker takes no message"
            refusal = Reject(reason="unreachable", message=words, retry_after_s=UNREACHABLE_RETRY_S)
            self._control.reply(self._control.identity, message.header, refusal)

    def _state(self, now_ns: int) -> str:
        """What the broker is to know soon: the robot's state, and which stops it has been told."""
        vitals = self._vitals.current(now_ns)
        return f"{vitals.state if vitals else ''} {self._stops.digest}"

    def _heartbeat(self, now_ns: int) -> tuple[Header, Heartbeat]:
        """The heartbeat to send now, in every phase: its answer shows that a broker is there."""
        # An epoch claims a session, and a seq a request: the broker answers at once when it does
        # not exist, so that control need not wait for a timeout, which is longer than most plans.
        held = self._relay.phase is not Phase.CLOSED
        header = Header(Kind.HEARTBEAT, epoch=self._relay.epoch if held else 0, token=now_ns)
        asked = self._audit.pending
        # The request is sent once the session is open, or went straight to the replica.
        opening = self._brokers.route.opening
        if held and asked is not None and not opening and self._session.is_owed_by_broker(asked):
            header = header._replace(seq=asked.seq, episode=asked.episode)
        rows = self._host.rows(self.name, self.config.robot) if self._host else ()
        vitals = self._vitals.current(now_ns)
        if vitals is not None:
            vitals = msgspec.structs.replace(
                vitals,
                uplink=self._uplink_figures(now_ns),
                uplink_limit=self._uplink.limited,
            )
        beat = Heartbeat(
            progress=self.board.turns,
            vitals=vitals,
            actors=rows,
            direct_answers=self._direct.answers,
            direct_s=tuple(self._direct.last_s),
            stops=self._stops.digest,
        )
        return header, beat

    def _uplink_figures(self, now_ns: int) -> dict[str, float]:
        terms = self._session.terms
        figures = self._uplink.figures(now_ns) | self._brokers.answer_times(now_ns)
        if terms is not None and terms.shm:
            figures["jpeg_quality"] = 0  # images in shared memory are not encoded
        return figures

    def _status(self) -> dict[str, object]:
        return {
            **self._brokers.status(),
            **self._session.status(),
            "sent": self._audit.sent,
            "received": self._audit.received,
            "evidence_lost": self._audit.lost + (self._executed.lost if self._executed else 0),
            "bytes_in": self._answers.bytes_in,
            "uplink": self._uplink_figures(time.monotonic_ns()),
            "uplink_limit": self._uplink.limited,
            "frame_age_ms": self._images.frames.age_ms,
            "shared_frames": dict(self._images.use.counts),
            "damaged": dict(self._images.frames.damaged),
            "dropped": dict(self._dropped),
        }

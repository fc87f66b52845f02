"""The network actor: one robot's way to its service.

Control speaks the wire protocol to it over ipc; it adds what control must not touch (images, the
names of cameras, the offer of shared memory) and passes messages on, both ways. On the replica's
host images go into this robot's outbox and only references travel; elsewhere they travel as JPEG,
or raw. Every decision about the connection is `session.Session`'s.

Nothing here blocks and nothing is queued: a message that cannot be sent now is dropped, counted,
and where control waits for it, answered with an error.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import zmq

from ...errors import StaleFrameError, WireError
from ...transport import messages, sockets
from ...transport.arrays import Buffer
from ...transport.connection import Connection
from ...transport.frames import FrameReader
from ...transport.header import Header, Kind
from ...transport.host import boot_id
from ...transport.layout import own
from ...transport.messages import (
    Accept,
    Blobs,
    Error,
    Event,
    Heartbeat,
    Reject,
    Vitals,
    unreadable,
)
from ...transport.outbox import Outbox
from ...transport.poll import Poll
from ..runtime.actor import Actor
from ..runtime.audit import Audit
from ..runtime.configs import NetworkConfig
from ..runtime.credentials import credentials
from .camera_frames import CameraFrames
from .request_audit import RequestAudit
from .session_relay import TAKEOVER_NS, Decision, Disposition, Phase, SessionRelay, as_policy_says

_REPORT_NS = 250_000_000
_CONTROL_HEARTBEAT_NS = 200_000_000
_VITALS_NS = 2_000_000_000
"""After which what control said of itself is old, and told no more."""
_POLL_MS = 100
UNREACHABLE_RETRY_S = 0.5
"""Control is told when the broker answers again; this is for the case that that is lost."""


class NetworkActor(Actor):
    """See the module."""

    kind = "network"
    Config = NetworkConfig

    def setup(self) -> None:
        cv2.setNumThreads(1)
        config: NetworkConfig = self.config
        self._session = SessionRelay(round(config.broker_lost_after_s * 1e9))
        readers = {n: FrameReader(self.segment(c.segment)) for n, c in config.cameras.items()}
        sizes = {n: (c.width, c.height) for n, c in config.cameras.items()}
        self._feeds = CameraFrames(readers, config.max_frame_age_s, sizes)
        self._outbox = own(self.segment(config.outbox), Outbox) if config.outbox else None
        self._terms: Accept | None = None
        self._episode: int | None = None
        self._began_ns = 0
        self._control_identity = b""
        self._vitals: Vitals | None = None
        self._vitals_ns = 0
        self._own_actions: tuple[str, ...] = ()
        self._asked: Header | None = None
        self._oldest_ns = 0
        """When the oldest image of the last request was captured; 0 if it had none."""
        self._dropped: Counter[str] = Counter()
        self._bytes_out = self._bytes_in = 0
        evidence = Path(config.evidence or self.rundir)
        audit = Audit(evidence / "audit" / f"{config.robot}.network.jsonl", config.audit_bytes)
        self._journal = RequestAudit(config.robot, audit)
        self.resources.callback(self._journal.close)
        self._context: sockets.Context = zmq.Context()
        self.resources.callback(sockets.unlink_stale, config.control)
        # Long enough for the two last words to leave a socket that drops on close.
        self.resources.callback(self._context.destroy, linger=100)
        sockets.unlink_stale(config.control)
        # Control's next incarnation has another identity, and the kernel ends what a dead one had:
        # a second connection under the same identity is never control's.
        self._control = sockets.router(self._context, config.control, handover=False)
        identity = f"{config.robot}:{self.incarnation}"
        key, server = credentials(self.name, config.key, config.broker_key)
        self._broker = Connection(
            self._context,
            config.broker,
            identity,
            key=key,
            server=server,
            lost_after_ns=round(config.broker_lost_after_s * 1e9),
        )
        self.resources.callback(self._broker.close)
        self._told = ""
        self.resources.callback(self._end_session)

    def run(self) -> None:
        self.ready()
        poll = Poll(self._control, self.link.fileno())
        self._broker.watch(poll)
        now = time.monotonic_ns()
        beat_broker = beat_control = report = now
        while not self.stopping:
            ready = poll.wait(_POLL_MS)
            now = time.monotonic_ns()
            if self._control in ready:
                self._drain(self._control, self._from_control)
            if self._broker.socket in ready:
                self._drain(self._broker.socket, self._from_broker)
            self._watch_broker(now)
            if self.link.fileno() in ready:
                self.refuse_commands()
            silent = self._session.tick(now)
            if silent is not None:
                self._lost(self._session.epoch, silent.message)
            if now >= beat_broker:
                self._beat(now)
                beat_broker = now + round(self.config.heartbeat_s * 1e9)
            if now >= beat_control:
                self._to_control(_heartbeat(self._session.epoch, self.board.turns))
                beat_control = now + _CONTROL_HEARTBEAT_NS
            if now >= report:
                self.board.report(self._status())
                report = now + _REPORT_NS
            self.board.progress()

    def _end_session(self) -> None:
        """Close the session, and tell both peers why."""
        if self._session.phase is not Phase.CLOSED:
            close = Header(Kind.CLOSE, epoch=self._session.epoch)
            bye = messages.encode(close, messages.Close(reason="stopping"))
            sockets.send(self._broker.socket, bye)
            # An end in order is no news to warn of.
            self._tell(self._control_identity, self._session.epoch, "the network actor is stopping")

    def _drain(self, socket: sockets.Socket, handle: Callable[[list[Buffer]], None]) -> None:
        """Handle what has arrived, at most a few at a time so that no peer starves the other."""
        for _ in range(16):
            try:
                frames = sockets.receive(socket)
                if frames is None:
                    return
                handle(frames)
            except WireError as error:
                self._dropped[error.reason] += 1

    def _from_control(self, frames: list[Buffer]) -> None:
        identity, *rest = frames
        if len(rest) < 2:
            return  # the greeting of a connection, which only says who is there
        sender = bytes(identity)
        incarnation = self._incarnation_of_control(sender)
        header = Header.unpack(rest[0])
        message = self._decode(sender, header, rest)
        if header.kind is Kind.HEARTBEAT:
            self._vitals, self._vitals_ns = message.body.vitals, time.monotonic_ns()
            if not header.epoch:
                return  # control holds no session, and claims none
        verdict = self._session.from_control(header, incarnation, time.monotonic_ns())
        if verdict.action is Disposition.LOST:
            self._tell(sender, header.epoch, verdict.message)
        elif verdict.action is Disposition.REFUSE:
            self._dropped[verdict.reason] += 1
            refusal = Reject(
                reason=verdict.reason, message=verdict.message, retry_after_s=TAKEOVER_NS / 1e9
            )
            self._reply(sender, header, refusal)
        elif verdict.action is Disposition.DROP:
            self._count(verdict)
        elif header.kind is Kind.OPEN:
            self._control_identity = sender
            self._open(message)
        else:
            self._follow_episode(header)
            if header.kind is Kind.REQUEST:
                self._request(message)
            else:
                self._send(rest)

    def _incarnation_of_control(self, identity: bytes) -> int:
        """Of a connection to this robot's control socket. Raises WireError for any other peer's."""
        name, incarnation = sockets.peer(identity)
        if name != f"{self.config.robot}/control":
            raise WireError(
                "identity", f"{name} speaks to the network actor of {self.config.robot}"
            )
        return incarnation

    def _decode(self, sender: bytes, header: Header, frames: list[Buffer]) -> messages.Message[Any]:
        """Read a message of control. One that cannot be read changes nothing, and is answered where
        an answer is waited for. Raises WireError."""
        try:
            return messages.decode(frames)
        except WireError as error:
            if answer := unreadable(header.kind, error):
                self._reply(sender, header, answer)
            raise

    def _watch_broker(self, now: int) -> None:
        """Tell control, while it waits for a session, what becomes of the way to the broker."""
        made = self._broker.made()
        if self._broker.tick(now):
            self.log.warning("connecting to the broker anew: %s", self._broker.reason)
        reason = self._broker.reason
        if reason == self._told and not made:
            return
        self._told = reason
        if self._session.phase is not Phase.CLOSED:
            return
        what, words = ("waiting", reason) if reason else ("available", self.config.service)
        about = Header(Kind.EVENT, epoch=self._session.epoch)
        self._reply(self._control_identity, about, Event(what=what, message=words))

    def _follow_episode(self, header: Header) -> None:
        """What the cameras saw before an episode began says nothing about it. A lost RESET costs
        nothing: the first request says the same."""
        if header.kind is Kind.CLOSE or header.episode == self._episode:
            return
        if self._episode is not None or header.kind is Kind.RESET:
            self._began_ns = time.monotonic_ns()
        self._episode = header.episode

    def _from_broker(self, frames: list[Buffer]) -> None:
        header = Header.unpack(frames[0])
        self._broker.heard(time.monotonic_ns())
        self._bytes_in += sum(len(frame) for frame in frames)
        event = messages.decode(frames).body.what if header.kind is Kind.EVENT else ""
        verdict = self._session.from_broker(header, event, time.monotonic_ns())
        if verdict.action is Disposition.DROP:
            self._count(verdict)
            return
        if header.kind is Kind.ACCEPT:
            frames = self._accepted(messages.decode(frames))
        elif header.kind is Kind.REPLY and self._oldest_ns:
            frames = self._with_age(messages.decode(frames))
        arrived = time.monotonic_ns()
        self._to_control(frames)  # first: control waits for it, evidence does not
        if header.kind in (Kind.REPLY, Kind.ERROR):
            self._journal.answered(header, self._terms, arrived)

    def _accepted(self, message: messages.Message[Accept]) -> list[Buffer]:
        """Note the terms; control hears of its own action names if they are what was agreed."""
        self._terms = terms = message.body
        if terms.action_names == self.config.action_names:
            terms = msgspec.structs.replace(terms, action_names=self._own_actions)
        return messages.encode(message.header, terms, message.blobs)

    def _with_age(self, message: messages.Message[messages.Reply]) -> list[Buffer]:
        """The reply, with how old the oldest image was when control asked."""
        asked, header = self._asked, message.header
        if asked is None or (asked.seq, asked.epoch) != (header.seq, header.epoch):
            age_s = 0.0  # it is not the answer that control waits for
        else:
            age_s = max(0.0, (asked.token - self._oldest_ns) / 1e9)
        body = msgspec.structs.replace(message.body, oldest_input_age_s=age_s)
        return messages.encode(header, body, message.blobs)

    def _open(self, message: messages.Message[messages.Open]) -> None:
        """Complete control's OPEN by what only this process knows, names being the policy's."""
        config: NetworkConfig = self.config
        self._own_actions = message.body.action_names
        body = msgspec.structs.replace(
            as_policy_says(message.body, config),
            boot_id=boot_id() if self._outbox else "",
            outbox_nonce=self._outbox.nonce if self._outbox else 0,
            incarnation=self.incarnation,
            host=socket.gethostname(),
            pid=os.getpid(),
            kind="script" if config.script else "fleet",
        )
        self._terms = None
        if not self._send(messages.encode(message.header, body, message.blobs)):
            self._session.unreachable()
            words = self._broker.reason or "the broker takes no message"
            refusal = Reject(reason="unreachable", message=words, retry_after_s=UNREACHABLE_RETRY_S)
            self._reply(self._control_identity, message.header, refusal)

    def _request(self, message: messages.Message[messages.Request]) -> None:
        """Add the newest frame of every camera; refuse when one is missing or too old."""
        header = message.header
        shared = self._terms is not None and self._terms.shm
        outbox = self._outbox if shared else None
        room = outbox.reserve if outbox else None
        try:
            pixels = self._feeds.newest(self._wanted(), time.monotonic_ns(), self._began_ns, room)
        except StaleFrameError as stale:
            self._refuse(header, "stale-frame", str(stale))
            return
        blobs = Blobs(message.blobs)
        if outbox is not None:
            images = {n: Blobs.reference(r) for n, r in outbox.publish().items()}
        else:
            quality = self.config.jpeg_quality
            images = {n: blobs.image(image, quality) for n, image in pixels.items()}
        ages_s = {name: ms / 1e3 for name, ms in self._feeds.age_ms.items()}
        self._oldest_ns = self._feeds.oldest_ns
        self._asked = header
        body = msgspec.structs.replace(message.body, images=images, frame_age_s=ages_s)
        frames = messages.encode(header, body, blobs)
        try:
            messages.check(frames)
        except WireError as error:
            self._refuse(header, error.reason, f"{error}: send smaller images, or JPEG")
            return
        if self._send(frames):
            self._journal.asked(header, ages_s, time.monotonic_ns())
        else:
            self._refuse(header, "unreachable", "the broker takes no message")

    def _wanted(self) -> dict[str, tuple[int, int] | None]:
        """The cameras whose images travel, and at what size: the policy's, or as captured."""
        if self._terms is None:
            return dict.fromkeys(self.config.cameras)
        edge = self.config.resize == "edge"
        return {n: size if edge else None for n, size in self._terms.cameras.items()}

    def _refuse(self, header: Header, reason: str, message: str) -> None:
        self._dropped[reason] += 1
        self._reply(self._control_identity, header, Error(reason=reason, message=message))

    def _lost(self, epoch: int, reason: str) -> None:
        self.log.warning("session lost: %s", reason)
        self._tell(self._control_identity, epoch, reason)

    def _tell(self, identity: bytes, epoch: int, reason: str) -> None:
        """Say that the session of `epoch` is lost."""
        self._reply(identity, Header(Kind.EVENT, epoch=epoch), Event(what="lost", message=reason))

    def _reply(self, identity: bytes, about: Header, body: messages.Body) -> None:
        header = about._replace(kind=messages.KINDS[type(body)])
        self._to_control(messages.encode(header, body), identity)

    def _beat(self, now: int) -> None:
        """Sent in every phase: the broker's answer is how this actor hears that it is there."""
        # An epoch claims a session: the broker says at once when it has none of it.
        held = self._session.phase is not Phase.CLOSED
        header = Header(Kind.HEARTBEAT, epoch=self._session.epoch if held else 0, token=now)
        beat = Heartbeat(progress=self.board.turns, vitals=self._current_vitals(now))
        self._send(messages.encode(header, beat))

    def _current_vitals(self, now: int) -> Vitals | None:
        """What the loop said of itself last, as long as it is news. A script's loop rests whenever
        its program does something else: it plays nothing and asks for nothing meanwhile."""
        said, silent_ns = self._vitals, now - self._vitals_ns
        if said is None or silent_ns <= _VITALS_NS or said.state == "DEAD":
            return said
        if not self.config.script:
            return None
        reason = f"the script has not called act for {silent_ns / 1e9:.0f} s"
        return msgspec.structs.replace(said, state="PAUSED", reason=reason, fps=0.0)

    def _send(self, frames: list[Buffer]) -> bool:
        if not sockets.send(self._broker.socket, frames):
            self._dropped["broker-full"] += 1
            return False
        self._bytes_out += sum(len(frame) for frame in frames)
        return True

    def _to_control(self, frames: list[Buffer], identity: bytes = b"") -> None:
        identity = identity or self._control_identity
        if identity and not sockets.send(self._control, [identity, *frames]):
            self._dropped["control-gone"] += 1

    def _count(self, verdict: Decision) -> None:
        if verdict.reason != "heartbeat":
            self._dropped[verdict.reason] += 1

    def _status(self) -> dict[str, object]:
        terms = self._terms
        return {
            "session": self._session.phase,
            "broker": self._broker.reason,
            "reconnects": self._broker.remade,
            "epoch": self._session.epoch,
            "replica": terms.replica if terms else None,
            "shm": bool(terms and terms.shm),
            "warnings": list(terms.warnings) if terms else [],
            "sent": self._journal.sent,
            "received": self._journal.received,
            "evidence_lost": self._journal.lost,
            "bytes_out": self._bytes_out,
            "bytes_in": self._bytes_in,
            "frame_age_ms": self._feeds.age_ms,
            "damaged": dict(self._feeds.damaged),
            "dropped": dict(self._dropped),
        }


def _heartbeat(epoch: int, progress: int) -> list[Buffer]:
    return messages.encode(Header(Kind.HEARTBEAT, epoch=epoch), Heartbeat(progress=progress))

"""The groot actor: a port of GR00T's ZeroMQ protocol for its unmodified clients, in front of one
service.

The protocol is that of GR00T's `PolicyServer` and its clients (NVIDIA/Isaac-GR00T,
`gr00t/eval/service.py` of N1.5, `gr00t/policy/server_client.py` since N1.6): a REQ socket sends a
map with `endpoint`, `data` and `api_token`, in MessagePack, and gets one answer. Theirs is a REP
socket, which serves one client after the other; this is a ROUTER, which serves all at once.

Guarantees: a client is a connection, with sessions of its own, which begin with its first
observation and end with the connection, or when it has asked nothing for `IDLE_S`; a client that is
slow, or sends what it must not, affects no other; whatever clients declare, each message takes at
most `MAX_MESSAGE` bytes.

Does not guarantee: that messages are encrypted, which GR00T's clients cannot; that memory is
bounded against a peer that never ends a message (`transport.sockets`): the supervisor restarts the
actor at its limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time

import cv2
import msgspec
import zmq

from ...errors import RefusedError
from ...policy.base import PolicySpec
from ...transport import sockets
from ...transport.client_router import ClientRouter
from ...transport.limits import Limits
from ..runtime.actor import Actor
from ..runtime.client_configs import GrootConfig
from . import groot_arrays
from .client_seats import ClientSeats
from .client_service import ClientService
from .groot_arrays import ArrayForm
from .groot_conversation import GrootConversation, GrootPort
from .groot_modalities import Modalities
from .groot_observation import GrootReader
from .shared_secret import read_secret

MAX_SESSIONS = 32
MAX_MESSAGE = 32 << 20
IDLE_S = 30.0
_BEAT_S = 0.25
_AT_ONCE = 32
"""Messages received before other tasks run."""
_ENVELOPE = 8
_FAULT = groot_arrays.pack({"error": "a fault of this server: see its log"}, ArrayForm.NPY)


class GrootActor(Actor):
    """The server of one port."""

    kind = "groot"
    Config = GrootConfig

    def setup(self) -> None:
        cv2.setNumThreads(1)
        config: GrootConfig = self.config
        spec = msgspec.convert(config.spec, PolicySpec)
        token = None if config.api_token is None else read_secret(config.api_token)
        self._context: sockets.Context = zmq.Context()
        self.resources.callback(self._context.destroy, linger=100)
        self._service = ClientService.behind(self, spec, self._context)
        self._counts = self._service.counts
        modalities = Modalities(spec, config.mapping)
        reader = GrootReader(spec, modalities)
        self._seats = ClientSeats(self._service, self.name, MAX_SESSIONS)
        self._port = GrootPort(
            self._service, self._seats, reader, modalities, config.dialect, token
        )
        self._router = _bind(self._context, config.host, config.port)
        self.resources.callback(self._router.close)
        self._clients: dict[bytes, GrootConversation] = {}
        self._answers: dict[bytes, asyncio.Task[None]] = {}

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._readable = asyncio.Event()
        commands = asyncio.Event()
        for descriptor in self._router.filenos():
            loop.add_reader(descriptor, self._readable.set)
        loop.add_reader(self.link.fileno(), commands.set)
        receiving = asyncio.create_task(self._receive())
        self.ready(port=self.config.port)
        try:
            while not self.stopping:
                self.board.progress()
                self.board.report({"clients": len(self._seats), "counters": dict(self._counts)})
                if receiving.done():
                    receiving.result()
                await self._end_idle()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_BEAT_S):
                        await commands.wait()
                    commands.clear()
                    self.refuse_commands()
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            for identity in list(self._clients):
                await self._forget(identity, "the port closes")

    async def _receive(self) -> None:
        """Take what arrives, without an end."""
        while True:
            messages, ended = self._router.receive(_AT_ONCE)
            for frames in messages:
                self._take(*frames)
            for identity in ended:
                await self._disconnected(identity)
            self._readable.clear()
            # The descriptors say nothing of what was there before they were read.
            if self._router.has_more():
                await asyncio.sleep(0)
            else:
                await self._readable.wait()

    def _take(self, identity: bytes, *rest: bytes) -> None:
        """Begin to answer a message: what the client's socket put before it up to an empty frame,
        and the request."""
        if len(rest) < 2 or len(rest) > _ENVELOPE or rest[-2] != b"":
            self._counts["no-request"] += 1
            return
        self._counts["requests"] += 1
        client = self._clients.get(identity)
        if client is None:
            client = self._clients[identity] = GrootConversation(self._port)
        elif client.busy:
            # No REQ socket does this: an answer would not be awaited.
            self._counts["not-awaited"] += 1
            return
        client.busy = True
        answering = asyncio.create_task(self._answer(identity, client, rest))
        self._answers[identity] = answering

    async def _answer(
        self, identity: bytes, client: GrootConversation, rest: tuple[bytes, ...]
    ) -> None:
        try:
            answer = await client.answer(rest[-1])
        except Exception:
            self.log.exception("a fault of this server, not of its client")
            answer = _FAULT
        sent = self._router.send([identity, *rest[:-1], answer])
        # A send may have read the socket's events, which its descriptor then does not repeat.
        self._readable.set()
        del self._answers[identity]
        if not sent:
            self._counts["gone"] += 1
            await self._forget(identity, "the client is gone, or does not read")
        elif not client.callers:
            # Any number of connections may ask for what needs no session.
            del self._clients[identity]

    async def _disconnected(self, identity: bytes) -> None:
        """End the sessions of a client whose connection ended; also while it is answered."""
        client = self._clients.get(identity)
        if client is None:
            return
        if client.busy:
            self._counts["gone-in-inference"] += 1
        await self._forget(identity, "the client is gone")

    async def _end_idle(self) -> None:
        """End the sessions of clients that have asked nothing for long."""
        now_s = time.monotonic()
        for identity, client in list(self._clients.items()):
            if not client.busy and now_s - client.used_s > IDLE_S:
                await self._forget(identity, f"the client asked nothing for {IDLE_S:g} s")

    async def _forget(self, identity: bytes, why: str) -> None:
        """End what is done for a client, and its sessions."""
        client = self._clients.pop(identity)
        if (answering := self._answers.pop(identity, None)) is not None:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
        await client.close(why)


def _bind(context: sockets.Context, host: str, port: int) -> ClientRouter:
    """The listening socket. Raises RefusedError."""
    limits = Limits(max_blob_bytes=MAX_MESSAGE, max_message_bytes=2 * MAX_MESSAGE)
    remedy = "set another `host` or `port` under `gateway.groot` in fleet.yaml"
    try:
        # libzmq takes addresses, no names.
        first = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
        address = f"[{first}]" if ":" in first else first
        return ClientRouter(context, f"tcp://{address}:{port}", limits)
    except zmq.ZMQError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = f"another program has it; {remedy}"
        why: str | None = zmq.strerror(error.errno or 0)
    except OSError as error:
        why = error.strerror
    raise RefusedError(f"GR00T's clients cannot be served on {host} port {port}: {why}; {remedy}")

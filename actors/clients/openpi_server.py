"""The openpi actor: a WebSocket server for unmodified clients of openpi, in front of one service.

The protocol is that of openpi's `WebsocketPolicyServer`, as `openpi-client` 0.1.2 speaks it: the
server sends its metadata first; then each binary message is an observation and is answered by a map
with `actions`, float32 [chunk, A], and timings; a failure is answered by a traceback as text, after
which the server closes with code 1011. `GET /healthz` is answered by OK. The file `api_key` holds
what clients must send as `Authorization: Api-Key KEY`, which openpi's own server does not check.

Guarantees: each connection is one session with the service, which begins with its first observation
and ends with the connection, also in the middle of an inference; a client that is slow, or sends
what it must not, affects no other; whatever clients declare, each message takes at most
`MAX_MESSAGE` bytes. A page in a browser cannot connect. What travels is not encrypted.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import socket
from http import HTTPStatus
from typing import Any

import cv2
import msgspec
import zmq
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request as Handshake
from websockets.http11 import Response

from ...errors import RefusedError
from ...policy.base import PolicySpec
from ...transport import sockets
from ..runtime.actor import Actor
from ..runtime.client_configs import OpenpiConfig
from . import msgpack_arrays, roboarena
from .client_service import ClientService
from .observation_mapping import ObservationReader
from .openpi_conversation import OpenpiConversation
from .shared_secret import is_secret, read_secret

MAX_CLIENTS = 32
MAX_MESSAGE = 16 << 20
HANDSHAKE_S = 5.0
_BEAT_S = 0.25
# Each failed handshake of any peer would be a line with a traceback.
_QUIET = logging.Logger("openpi.websockets", logging.CRITICAL)  # noqa: LOG001 no configured one
_LISTEN = 256


class OpenpiActor(Actor):
    """The server of one port."""

    kind = "openpi"
    Config = OpenpiConfig

    def setup(self) -> None:
        cv2.setNumThreads(1)
        config: OpenpiConfig = self.config
        spec = msgspec.convert(config.spec, PolicySpec)
        self._api_key = None if config.api_key is None else read_secret(config.api_key)
        self._metadata = msgpack_arrays.pack(_describe(config, spec))
        context: sockets.Context = zmq.Context()
        self.resources.callback(context.destroy, linger=100)
        self._service = ClientService.behind(self, spec, context)
        self._counts = self._service.counts
        self._reader = ObservationReader(spec, config.mapping)
        self._listener = _listen(config.host, config.port)
        self.resources.callback(self._listener.close)
        self._clients: dict[int, ServerConnection] = {}

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with serve(
            self._client,
            sock=self._listener,
            process_request=self._admit,
            # A browser names its page's origin with every connection; no other client does.
            origins=[None],
            compression=None,
            max_size=MAX_MESSAGE,
            max_queue=2,
            open_timeout=HANDSHAKE_S,
            close_timeout=1.0,
            logger=_QUIET,
        ):
            self.ready(port=self._listener.getsockname()[1])
            await self._beat()

    async def _beat(self) -> None:
        """Count progress and answer the supervisor, until it asks for the stop."""
        readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.link.fileno(), readable.set)
        while not self.stopping:
            self.board.progress()
            self.board.report({"clients": len(self._clients), "counters": dict(self._counts)})
            try:
                async with asyncio.timeout(_BEAT_S):
                    await readable.wait()
            except TimeoutError:
                continue
            readable.clear()
            self.refuse_commands()

    def _admit(self, connection: ServerConnection, request: Handshake) -> Response | None:
        """The refusal of a connection before it is a WebSocket's, or the answer about health."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        self._counts["connects"] += 1
        if self._api_key is not None and not self._has_key(request):
            self._counts["refused-key"] += 1
            given = "another API key" if "Authorization" in request.headers else "no API key"
            self._refused(connection, f"it sends {given}")
            words = "this server takes clients with its API key only: Authorization: Api-Key KEY\n"
            return connection.respond(HTTPStatus.UNAUTHORIZED, words)
        if len(self._clients) >= MAX_CLIENTS:
            self._counts["refused-full"] += 1
            self._refused(connection, f"{MAX_CLIENTS} are connected already")
            words = f"{MAX_CLIENTS} clients are connected, and no more are served\n"
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, words)
        return None

    def _refused(self, connection: ServerConnection, why: str) -> None:
        self._service.said.warning(
            "refused", f"a client from {_peer(connection)} is refused: {why}"
        )

    def _has_key(self, request: Handshake) -> bool:
        assert self._api_key is not None
        given = request.headers.get_all("Authorization")
        scheme, _, key = (given[0] if len(given) == 1 else "").partition(" ")
        return scheme.lower() == "api-key" and is_secret(key.strip(), self._api_key)

    async def _client(self, client: ServerConnection) -> None:
        """Serve one client until it is gone."""
        if len(self._clients) >= MAX_CLIENTS:
            # Between the handshake's two halves others may have taken the last place.
            self._refused(client, f"{MAX_CLIENTS} are connected already")
            await client.close(CloseCode.TRY_AGAIN_LATER, "too many clients")
            return
        number = next(n for n in itertools.count(1) if n not in self._clients)
        self._clients[number] = client
        name = f"{self.name}/{number}"
        self._service.said.info("connected", f"{name}: a client from {_peer(client)}")
        conversation = OpenpiConversation(self._service, self._reader, self._metadata, client, name)
        try:
            await conversation.serve()
        except ConnectionClosed:
            pass
        except TimeoutError:
            self._counts["slow"] += 1
            self._service.said.warning("slow", f"{name}: it did not read an answer in time")
        except Exception:
            self.log.exception("a fault of this server, not of its client %d", number)
            raise  # upon which the connection is closed with code 1011
        finally:
            await conversation.close()
            del self._clients[number]
            self._service.said.info("gone", f"{name}: the client is gone")


def _peer(connection: ServerConnection) -> str:
    """Where a client is."""
    address = connection.remote_address
    return str(address[0]) if address else "nowhere"


def _describe(config: OpenpiConfig, spec: PolicySpec) -> dict[str, Any]:
    """The metadata."""
    if config.roboarena:
        return {**roboarena.server_config(spec), **config.metadata}
    return {
        "service": config.service,
        "model": spec.model,
        "revision": spec.revision,
        "cameras": {c.name: [c.height, c.width, 3] for c in spec.cameras},
        "state_names": list(spec.state_names),
        "action_names": list(spec.action_names),
        "action_horizon": spec.chunk_size,
        "fps": spec.fps,
        "control_mode": spec.control_mode,
        **config.metadata,
    }


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises RefusedError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_LISTEN)
    except OSError as error:
        listener.close()
        remedy = "set another `host` or `port` under `gateway.openpi` in fleet.yaml"
        if error.errno == errno.EADDRINUSE:
            remedy = f"another program has it; {remedy}"
        raise RefusedError(
            f"openpi's clients cannot be served on {host} port {port}: {error.strerror}; {remedy}"
        ) from error
    return listener

"""HTTP/1.1 for one page and a few documents: h11's parser over asyncio's streams.

Why not a framework: aiohttp brings eight packages with C extensions, starlette and uvicorn six, to
every robot's computer, to route a dozen paths. Why not the standard library's `http.server`: it
gives each client a thread, and lets each hold megabytes of headers for as long as it likes. h11 is
one pure-Python package without dependencies, and does only the part that is easy to get wrong.

Guarantees: whatever clients send or fail to read, each holds at most a few 100 KB, a request must
be whole within `RECEIVE_S` and an answer read within `SEND_S`, and no more than `MAX_CLIENTS` are
served at once. Does not do: TLS, compression, uploads; put a proxy before it for these.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

import h11
import msgspec

from .socket_owner import End

MAX_CLIENTS = 64
MAX_HEAD = 16 * 1024
MAX_BODY = 16 * 1024
"""The longest task fits, as JSON."""
RECEIVE_S = 10.0
SEND_S = 10.0
TURNED_AWAY_S = 0.2

_SECURITY = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob:; media-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_log = logging.getLogger("http")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`path` is decoded and has no query, which is in `query`, the last value of each name; header
    names are lower-case; `peer` is an IP address; `ends` are the connection's, the peer's first;
    `body` is whole."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    peer: str = "127.0.0.1"
    ends: tuple[End, End] | None = None
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """`body` whole, or pieces for as long as the client listens; with a `content-length` they have
    that many bytes."""

    status: int
    body: bytes | AsyncGenerator[bytes, None] = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def text(status: int, message: str) -> HttpResponse:
    """A sentence for a person."""
    return HttpResponse(status, f"{message}\n".encode())


def not_allowed(methods: str) -> HttpResponse:
    """Another method than `methods`, such as "GET, HEAD"."""
    return HttpResponse(405, f"only {methods}\n".encode(), headers={"allow": methods})


def json(status: int, value: object) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(value), "application/json")


class HttpServer:
    """Answers requests at a listening socket by `handler`; `close` ends every connection."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.served = 0
        """Requests answered so far."""

    async def start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._client, sock=listener, limit=MAX_HEAD)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        # Cancelled at close; a client's own faults are not reported.
        try:
            with suppress(asyncio.CancelledError, ConnectionError, TimeoutError):
                if len(self._clients) <= MAX_CLIENTS:
                    await _Connection(reader, writer, self._count).serve()
                else:
                    writer.write(b"HTTP/1.1 503 too many clients\r\nconnection: close\r\n\r\n")
                    # To close with a request unread is a reset, which takes the answer back.
                    async with asyncio.timeout(TURNED_AWAY_S):
                        await reader.read(MAX_HEAD)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _count(self, request: HttpRequest) -> HttpResponse:
        self.served += 1
        return await self._handler(request)


class _Connection:
    """One client, request after request."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        peer, own = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        self._ends = End(str(peer[0]), peer[1]), End(str(own[0]), own[1])

    async def serve(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RECEIVE_S):
                    request = await self._receive()
            except h11.RemoteProtocolError as error:
                await self._send(text(error.error_status_hint, f"this is no HTTP: {error}"))
                return
            if request is None:
                return
            await self._send(await self._answer(request), request.method)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _receive(self) -> HttpRequest | None:
        """The next whole request; None when the client is done."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            match await self._event():
                case h11.Request() as head:
                    pass
                case h11.Data() as data:
                    body += data.data
                    if len(body) > MAX_BODY:
                        raise h11.RemoteProtocolError(f"a body over {MAX_BODY} bytes", 413)
                case h11.EndOfMessage():
                    assert head is not None
                    return self._request(head, bytes(body))
                case _:
                    return None

    async def _event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._reader.read(MAX_HEAD))

    def _request(self, head: h11.Request, body: bytes) -> HttpRequest:
        target, _, query = head.target.decode("latin-1").partition("?")
        return HttpRequest(
            method=head.method.decode("ascii"),
            path=unquote(target),
            headers={name.decode("ascii"): v.decode("latin-1") for name, v in head.headers},
            peer=self._ends[0].host,
            ends=self._ends,
            body=body,
            query=dict(parse_qsl(query, keep_blank_values=True)),
        )

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._handler(request)
        except Exception:  # noqa: BLE001 any fault of a page is answered, and logged
            _log.exception("%s %s failed", request.method, request.path)
            return text(500, "the gateway failed at this; `actorctl logs gateway` says why")

    async def _send(self, response: HttpResponse, method: str = "GET") -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = {**_SECURITY, "content-type": response.content_type, **response.headers}
        if isinstance(response.body, bytes):
            headers["content-length"] = str(len(response.body))
        await self._write(h11.Response(status_code=response.status, headers=list(headers.items())))
        if method == "HEAD" or response.status in (204, 304):
            pass
        elif isinstance(response.body, bytes):
            await self._write(h11.Data(data=response.body))
        else:
            async with aclosing(response.body) as pieces:
                async for piece in pieces:
                    await self._write(h11.Data(data=piece))
        await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            async with asyncio.timeout(SEND_S):
                await self._writer.drain()

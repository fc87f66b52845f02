"""`OpenpiConversation`: one client of openpi: its messages, in order, and the session they need."""

from __future__ import annotations

import asyncio
import time
import traceback

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode

from ...errors import HoldfastError, WireError
from ...transport.bodies import Reply, Request
from ...transport.messages import Blobs, Message
from . import msgpack_arrays, roboarena
from .client_service import ClientService
from .observation_mapping import ObservationReader
from .service_caller import ServiceCaller

SEND_S = 10.0
"""How long a client may take to read an answer."""


class OpenpiConversation:
    """One client: its messages, in order, and the session that they need."""

    def __init__(
        self,
        service: ClientService,
        reader: ObservationReader,
        metadata: bytes,
        client: ServerConnection,
        name: str,
    ) -> None:
        self._service, self._reader, self._metadata = service, reader, metadata
        self._client, self._name = client, name
        self._caller: ServiceCaller | None = None
        self._total_s: float | None = None

    async def serve(self) -> None:
        """Answer message after message. Raises ConnectionClosed, or TimeoutError for a client that
        does not read."""
        await self._send(self._metadata)
        while True:
            message = await self._client.recv()
            began_s = time.monotonic()
            try:
                answer = await self._answer(message)
            except HoldfastError as error:
                self._service.counts["errors"] += 1
                self._service.said.info("failed", f"{self._name}: {error}")
                # As openpi's server does, without the stack, which says nothing about the client.
                what = "".join(traceback.format_exception_only(error))
                await self._send(f"Traceback (most recent call last):\n{what}")
                await self._client.close(
                    CloseCode.INTERNAL_ERROR,
                    "Internal server error. Traceback included in previous frame.",
                )
                return
            await self._send(answer)
            self._total_s = time.monotonic() - began_s

    async def close(self) -> None:
        if self._caller is not None:
            await self._caller.close("the client is gone")

    async def _answer(self, message: bytes | str) -> bytes | str:
        observation = msgpack_arrays.unpack(message)
        if isinstance(observation, dict) and "endpoint" in observation:
            endpoint = observation.pop("endpoint")
            if endpoint == "reset":
                if self._caller is not None:
                    self._caller.session.new_episode()
                return roboarena.RESET_ANSWER
            if endpoint != "infer":
                raise WireError("endpoint", f"endpoint {endpoint!r:.40}, expected infer or reset")
        began_s = time.monotonic()
        body, blobs = self._service.request(*self._reader.read(observation))
        reply = await self._infer(body, blobs)
        timing = {"infer_ms": (time.monotonic() - began_s) * 1e3}
        if self._total_s is not None:
            timing["prev_total_ms"] = self._total_s * 1e3
        self._service.counts["replies"] += 1
        return msgpack_arrays.pack(
            {
                "actions": reply.array(reply.body.chunk),
                "policy_timing": {"infer_ms": reply.body.inference_s * 1e3},
                "server_timing": timing,
            }
        )

    async def _infer(self, body: Request, blobs: Blobs) -> Message[Reply]:
        """The reply of the service. Raises ConnectionClosed as soon as the client is gone."""
        if self._caller is None:
            self._caller = self._service.caller(self._name)
        asked = asyncio.ensure_future(self._caller.infer(body, blobs))
        gone = asyncio.ensure_future(self._client.wait_closed())
        try:
            await asyncio.wait((asked, gone), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            self._service.counts["gone-in-inference"] += 1
            raise self._client.protocol.close_exc
        finally:
            for task in (asked, gone):
                task.cancel()
            await asyncio.gather(asked, gone, return_exceptions=True)

    async def _send(self, message: bytes | str) -> None:
        async with asyncio.timeout(SEND_S):
            await self._client.send(message)

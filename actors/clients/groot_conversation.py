"""`GrootConversation`: one client of GR00T: its requests, one at a time, and its sessions.

Endpoints as those of GR00T's servers (NVIDIA/Isaac-GR00T, `PolicyServer`): ping, get_action, reset,
get_modality_config, kill. An error is the answer `{"error": text}`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ...errors import HoldfastError, PolicyLostError, WireError
from ...transport.bodies import Reply
from ...transport.messages import Message
from ..runtime.client_configs import GrootDialect
from . import groot_arrays
from .client_seats import ClientSeats
from .client_service import ClientService
from .groot_arrays import ArrayForm
from .groot_modalities import Modalities
from .groot_observation import GrootReader, Layout
from .service_caller import ServiceCaller
from .shared_secret import is_secret

ENDPOINTS = ("ping", "get_action", "reset", "get_modality_config", "kill")
_PONG = {"status": "ok", "message": "Server is running"}


class GrootPort:
    """What all clients of a port share: the service, its sessions and keys, and the token."""

    def __init__(
        self,
        service: ClientService,
        seats: ClientSeats,
        reader: GrootReader,
        modalities: Modalities,
        dialect: GrootDialect,
        token: bytes | None,
    ) -> None:
        self.service, self.seats = service, seats
        self.reader, self.modalities = reader, modalities
        self.dialect, self.token = dialect, token


class GrootConversation:
    """One client. Each row of its batches has a session of its own.

    Attributes:
        callers: its sessions.
        busy: whether a request of it is being answered.
        used_s: when its last request came or was answered, of the monotonic clock.
    """

    def __init__(self, port: GrootPort) -> None:
        self._port = port
        self.callers: list[ServiceCaller] = []
        self.busy = False
        self.used_s = time.monotonic()
        self._form = ArrayForm.NPY
        self._is_n15 = False

    async def answer(self, packed: bytes) -> bytes:
        """The answer to a request, in the form of its arrays; of one without, in that of the
        client's last. An answer for every message."""
        counts = self._port.service.counts
        self.busy, self.used_s = True, time.monotonic()
        try:
            request, form = groot_arrays.unpack(packed)
            self._form = form or self._form
            result = await self._result(request)
        except HoldfastError as error:
            counts["errors"] += 1
            self._port.service.said.info("failed", f"a client's request failed: {error}")
            result = {"error": str(error)}
            if isinstance(error, PolicyLostError):
                await self.close("the service refused it")
        finally:
            self.busy, self.used_s = False, time.monotonic()
        return groot_arrays.pack(result, self._form)

    async def close(self, reason: str) -> None:
        """End its sessions."""
        callers, self.callers = self.callers, []
        await asyncio.gather(*(self._port.seats.leave(each, reason) for each in callers))

    async def _result(self, request: object) -> Any:
        port = self._port
        if not isinstance(request, dict):
            raise WireError("request", f"a request is a map, {type(request).__name__} came")
        if port.token is not None and not is_secret(request.get("api_token"), port.token):
            port.service.counts["refused-token"] += 1
            given = "another API token" if request.get("api_token") else "no API token"
            port.service.said.warning("refused", f"a client is refused: it sends {given}")
            # In the words of GR00T's own server.
            raise WireError("token", "Unauthorized: Invalid API token")
        endpoint = request.get("endpoint", "get_action")
        if endpoint == "ping":
            return _PONG
        if endpoint == "get_modality_config":
            return port.modalities.config("n1.5" if self._is_n15 else port.dialect)
        if endpoint == "reset":
            for caller in self.callers:
                caller.session.new_episode()
            return {}
        if endpoint == "kill":
            port.service.counts["refused-kill"] += 1
            raise WireError("kill", "clients do not end this server: `supervisor stop` does")
        if endpoint != "get_action":
            expected = ", ".join(ENDPOINTS)
            raise WireError("endpoint", f"Unknown endpoint: {endpoint!r:.40}, expected {expected}")
        return await self._action(request.get("data"))

    async def _action(self, data: object) -> Any:
        port = self._port
        asked = port.reader.read(data)
        self._is_n15 = asked.layout is Layout.N15
        while len(self.callers) < len(asked.rows):
            self.callers.append(port.seats.take())
        rows = zip(self.callers, asked.rows, strict=False)
        ended = await asyncio.gather(
            *(caller.infer(*port.service.request(*row)) for caller, row in rows),
            return_exceptions=True,  # none is left running when another fails
        )
        replies: list[Message[Reply]] = []
        for each in ended:
            if isinstance(each, BaseException):
                raise each
            replies.append(each)
        port.service.counts["replies"] += len(replies)
        return port.reader.answer(asked, [reply.array(reply.body.chunk) for reply in replies])

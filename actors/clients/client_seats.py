"""`ClientSeats`: the sessions that the clients of a port have, each under a name of its own."""

from __future__ import annotations

import itertools

from ...errors import WireError
from .client_service import ClientService
from .service_caller import ServiceCaller


class ClientSeats:
    """At most `most` sessions with the `service`, as `name/1`, `name/2`, ..."""

    def __init__(self, service: ClientService, name: str, most: int) -> None:
        self._service, self._name, self._most = service, name, most
        self._taken: dict[int, ServiceCaller] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self) -> ServiceCaller:
        """A session under the first name that is free. Within a running loop. Raises WireError
        (`full`)."""
        if len(self) >= self._most:
            self._service.counts["refused-full"] += 1
            full = f"a client is refused: {self._most} sessions are in use already"
            self._service.said.warning("refused", full)
            raise WireError("full", f"{self._most} sessions are in use, and no more are served")
        number = next(n for n in itertools.count(1) if n not in self._taken)
        caller = self._taken[number] = self._service.caller(f"{self._name}/{number}")
        self._service.said.info("connected", f"{self._name}/{number}: a client's session begins")
        return caller

    async def leave(self, caller: ServiceCaller, reason: str) -> None:
        """End a session that was taken; its name is free then."""
        self._service.said.info("gone", f"{caller.name}: {reason}")
        await caller.close(reason)
        self._taken = {n: each for n, each in self._taken.items() if each is not caller}

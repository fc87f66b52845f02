"""The page of one dataset without a fleet, for `actorctl dataset view`.

The same page, handlers and access as those of the gateway, on this machine only, with a token of
its own.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from .access import Access
from .dataset_routes import DatasetRoutes, within
from .page_files import pages
from .server import HttpRequest, HttpResponse, HttpServer, not_allowed, text

HOST = "127.0.0.1"


class DatasetViewer:
    """Serves the dataset at `root` on `port` (0: a free one). Raises OSError for one in use."""

    def __init__(self, root: Path, port: int = 0) -> None:
        token = secrets.token_urlsafe(32)
        self._access = Access(token)
        path = root.expanduser().absolute()
        datasets = {path.name or "dataset": str(path)}
        self._datasets = DatasetRoutes(datasets, self._access.ticket, fleet=False)
        self._pages = pages("dataset.html")
        self._listener = socket.create_server((HOST, port))
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}/#{token}"

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """The response to `request`; every refusal is one too."""
        refusal = self._access.refusal(request)
        if refusal is not None:
            return refusal
        if request.method not in ("GET", "HEAD"):
            return not_allowed("GET, HEAD")
        if within(request.path):
            return await self._datasets.answer(request)
        return self._pages.get(request.path) or text(404, f"nothing is at {request.path!r}")

    def serve(self, ready: Callable[[str], None]) -> None:
        """Call `ready` with the address that opens it; serve until KeyboardInterrupt."""
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: Callable[[str], None]) -> None:
        server = HttpServer(self.answer)
        await server.start(self._listener)
        ready(self.url)
        try:
            await asyncio.Event().wait()
        finally:
            await server.close()

"""The gateway actor: the fleet over HTTP, for people, monitoring and scripts. One per host.

Guarantees that it only looks: it asks the supervisor for its report, reads camera rings that are
mapped read-only and recorded datasets, and passes a person's commands on: to the supervisor, and
the emergency stop straight to the drivers. No actor waits for it. When it dies only the
timelines are lost; an open page finds the next incarnation at the same address.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from mmap import mmap

from ...errors import RefusedError
from ..runtime.actor import Actor
from ..runtime.configs import PAGE_PORT, GatewayConfig
from ..runtime.runtime_dir import SOCKET
from . import address
from .access import Access
from .cameras import Thumbnails
from .dataset_routes import DatasetRoutes
from .emergency_stop_buttons import EmergencyStopButtons
from .metrics import Exposition
from .routes import Routes
from .server import HttpServer
from .status_stream import StatusStream
from .supervisor_client import SupervisorClient

_BEAT_S = 0.25
_REPORT_BEATS = 4


class GatewayActor(Actor):
    """The actor of one host: HTTP on one port, read-only."""

    kind = "gateway"
    Config = GatewayConfig

    def setup(self) -> None:
        config: GatewayConfig = self.config
        port, self._token = address.last_known(self.rundir)
        self._listener = _listen(config.host, config.port, [port or PAGE_PORT, PAGE_PORT, 0])
        self.resources.callback(self._listener.close)
        self._thumbnails = Thumbnails(self._rings())

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        supervisor = SupervisorClient(self.rundir / SOCKET)
        self._stream = StatusStream(supervisor)
        self._exposition = Exposition(
            self._stream, host=self.config.site_host, tags=self.config.tags
        )
        access = Access(self._token, self.config.metrics)
        buttons = EmergencyStopButtons(self.rundir)
        self._datasets = DatasetRoutes(self.config.datasets, access.ticket)
        routes = Routes(
            access,
            self._stream,
            supervisor,
            self._thumbnails,
            self._exposition,
            buttons,
            self._datasets,
        )
        self._server = HttpServer(routes.answer)
        await self._server.start(self._listener)
        port = self._listener.getsockname()[1]
        address.publish(self.rundir, self.config.host, port, self._token)
        self.ready(port=port)
        watching = asyncio.create_task(self._stream.run())
        try:
            await self._beat(watching, port)
        finally:
            watching.cancel()
            await self._server.close()
            await asyncio.gather(watching, return_exceptions=True)

    async def _beat(self, watching: asyncio.Task[None], port: int) -> None:
        """Count progress and answer the supervisor, until it asks for the stop."""
        readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.link.fileno(), readable.set)
        beats = 0
        while not self.stopping:
            self.board.progress()
            if watching.done():
                watching.result()  # raises what ended it: a gateway that sees nothing must not stay
            if beats % _REPORT_BEATS == 0:
                self.board.report(
                    {"port": port, "pages": self._stream.pages, "served": self._server.served}
                )
            beats += 1
            try:
                async with asyncio.timeout(_BEAT_S):
                    await readable.wait()
            except TimeoutError:
                continue
            readable.clear()
            self.refuse_commands()
            if self.reconfigured():
                self._thumbnails.read(self._rings())
                self._datasets.datasets = dict(self.config.datasets)
                self._exposition.tags = self.config.tags

    def _rings(self) -> dict[str, mmap]:
        cameras: dict[str, str] = self.config.cameras
        return {camera: self.segment(segment) for camera, segment in cameras.items()}


def _listen(host: str, demanded: int | None, wished: list[int]) -> socket.socket:
    """A listening socket at the port that fleet.yaml demands, or else at the first free one of
    `wished`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in wished if demanded is None else [demanded]:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(64)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE and demanded is None:
                continue
            raise RefusedError(
                f"the gateway cannot listen on {host} port {port}: {error.strerror}; set another "
                "`gateway.host` or `gateway.port` in fleet.yaml, or `gateway.enabled: false`"
            ) from error
        return listener
    raise RefusedError(f"the gateway found no free port on {host}")

"""`ServiceCaller`: one client's socket to the broker, within an asyncio loop.

Guarantees: nothing blocks the loop; the session ends with `close`, also while a request is awaited;
a broker that restarts, or is not there yet, costs time and no request, up to `REQUEST_TIMEOUT_S`;
no chunk is returned while an emergency stop holds the client's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator

import zmq

from ...errors import HoldfastError, RequestDeclinedError
from ...transport import sockets
from ...transport.bodies import Open, Reply, Request, Vitals
from ...transport.connection import Connection
from ...transport.messages import Blobs, Message
from ..runtime.key_files import KeyFiles
from ..runtime.own_keys import OwnKeys
from .client_stops import ClientStops
from .service_session import ServiceSession, Standing

REQUEST_TIMEOUT_S = 10.0
LOST_AFTER_NS = 2_000_000_000
_BUSY_S = 0.02
_IDLE_S = 0.25
_KEPT = 128


class ServiceCaller:
    """Asks the service of `opening` for chunks, under the name `opening.robot`. Make it, and use
    it, within a running loop."""

    def __init__(
        self,
        context: sockets.Context,
        broker: str,
        opening: Open,
        epochs: Iterator[int],
        keys: OwnKeys | None = None,
        stops: ClientStops | None = None,
    ) -> None:
        self._keys = keys or OwnKeys(opening.robot, KeyFiles(), (broker,))
        self._used = self._keys.current
        self.name = opening.robot
        self._stops = stops or ClientStops(None, None)
        self.session = ServiceSession(opening, epochs)
        self._connection = Connection(
            context,
            broker,
            f"{opening.robot}:{opening.incarnation}",
            key=self._used.of(0)[0],
            server=self._used.of(0)[1],
            lost_after_ns=LOST_AFTER_NS,
        )
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._answer: asyncio.Future[Message[Reply]] | None = None
        self._latencies_ms: deque[float] = deque(maxlen=_KEPT)
        self._watch()
        self._task = self._loop.create_task(self._run())

    async def infer(self, body: Request, blobs: Blobs) -> Message[Reply]:
        """The reply to a request. Raises NotReadyError after `REQUEST_TIMEOUT_S`, PolicyLostError
        when the service refuses this client, WireError when it refuses the request,
        RequestDeclinedError while an emergency stop holds this client, also one that came since."""
        self._heed_stops()
        began_s = time.monotonic()
        self._answer = self._loop.create_future()
        self.session.ask(body, list(blobs))
        self._wake.set()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                reply = await self._answer
        except TimeoutError:
            raise self.session.overdue(REQUEST_TIMEOUT_S) from None
        finally:
            self._answer = None
            self.session.withdraw()
        self._latencies_ms.append((time.monotonic() - began_s) * 1e3)
        self._heed_stops()
        return reply

    def _heed_stops(self) -> None:
        if why := self._stops.why(self.name):
            raise RequestDeclinedError(why)

    async def close(self, reason: str) -> None:
        """End the session and the connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        frames = self.session.close(reason)
        if frames is not None:
            sockets.send(self._connection.socket, frames)
        self._unwatch()
        self._connection.close()
        # The context's end waits no longer than this for the message above.
        self._connection.socket.close(linger=100)

    async def _run(self) -> None:
        try:
            while True:
                self._turn(time.monotonic_ns())
                busy = self._answer is not None and self.session.standing is not Standing.HELD
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_BUSY_S if busy else _IDLE_S):
                        await self._wake.wait()
                self._wake.clear()
        except Exception as error:
            self._fail(error)
            raise

    def _turn(self, now_ns: int) -> None:
        """Receive what has arrived and send what is due."""
        self._connection.connected()
        socket = self._connection.socket
        while (frames := sockets.receive(socket)) is not None:
            self._connection.heard(now_ns)
            try:
                reply = self.session.receive(frames, now_ns)
            except HoldfastError as error:
                self._fail(error)
                continue
            if reply is not None and self._answer is not None and not self._answer.done():
                self._answer.set_result(reply)
        before = self._fd
        if self._renewed(now_ns) or self._connection.tick(now_ns):
            self._loop.remove_reader(before)
            self._watch()
            self.session.lost(self._reason or "the broker was silent")
            socket = self._connection.socket
        while (due := self.session.due(now_ns, self._vitals())) is not None:
            if not sockets.send(socket, due):
                self.session.unsent(self._reason, now_ns)
                break
        # A send may have read the socket's events, which its descriptor then does not repeat.
        if int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._wake.set()

    def _renewed(self, now_ns: int) -> bool:
        """Whether the connection was made anew with another key, which this or another client of
        the port has seen to."""
        self._keys.follow((self._connection.condition,), now_ns)
        if self._keys.current is self._used:
            return False
        self._used = self._keys.current
        self._connection.rekey(*self._used.of(0))
        return True

    @property
    def _reason(self) -> str:
        return "; ".join(filter(None, [self._connection.reason, self._keys.reason]))

    def _vitals(self) -> Vitals:
        session = self.session
        held = session.standing is Standing.HELD
        ordered = sorted(self._latencies_ms)
        latency_ms = {}
        if ordered:
            latency_ms = {
                "p50": ordered[len(ordered) // 2],
                "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
            }
        stopped = self._stops.why(self.name)
        state = "STREAMING" if held else "CONNECTING"
        reason = stopped or ("" if held else session.why or self._reason)
        return Vitals(
            state="REFUSED" if stopped else state,
            reason=reason[:2000],
            steps=session.answered,
            latency_ms=latency_ms,
            warnings=session.terms.warnings if session.terms else (),
        )

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _watch(self) -> None:
        self._fd = int(self._connection.socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._wake.set)

    def _unwatch(self) -> None:
        self._loop.remove_reader(self._fd)

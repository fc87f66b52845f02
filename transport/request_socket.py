"""`RequestSocket`: one connection to a REP socket of another project.

libzmq would make a lost connection anew without a word, and the answer to what was sent by it would
never come. Here a connection that is lost is an error, at once; the caller makes another.
"""

from __future__ import annotations

import struct
import time

import zmq

from . import sockets

_EVENT = struct.Struct("=HI")
_LOST = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_WATCHED = _LOST | zmq.EVENT_HANDSHAKE_SUCCEEDED


class RequestSocket:
    """A connection to `address`, made when it is returned. Used by one thread.

    Raises ConnectionError where there is no server, or one of another protocol, TimeoutError where
    it does not answer the handshake before `deadline_s` of the monotonic clock, ValueError for an
    address that is none.
    """

    def __init__(
        self, context: sockets.Context, address: str, deadline_s: float, max_bytes: int
    ) -> None:
        self._socket = context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, max_bytes)
        self._socket.setsockopt(zmq.IPV6, int("[" in address))
        self._monitor = self._socket.get_monitor_socket(_WATCHED)
        try:
            self._socket.connect(address)
            while True:
                event = self._event(deadline_s)
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    return
                if event == zmq.EVENT_CLOSED:
                    raise ConnectionError("nothing listens there")
                if event & _LOST:
                    raise ConnectionError("what listens there speaks another protocol")
        except zmq.ZMQError as error:
            self.close()
            raise ValueError(f"{address!r} cannot be connected to: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def exchange(self, request: bytes, deadline_s: float) -> bytes:
        """Send a request and wait for its answer. Raises ConnectionError when the connection is
        lost, TimeoutError; upon either the socket is closed."""
        try:
            self._socket.send(request, zmq.DONTWAIT)
            while not self._wait(self._socket, deadline_s):
                if self._event(deadline_s) & _LOST:
                    raise ConnectionError("the connection was lost")
            return self._socket.recv(zmq.DONTWAIT)
        except zmq.Again as error:
            self.close()
            raise ConnectionError("the connection was lost") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection. Idempotent."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._socket.close(linger=0)

    def _wait(self, wanted: sockets.Socket, deadline_s: float) -> bool:
        """Whether `wanted` can be read, rather than the monitor. Raises TimeoutError."""
        poller = zmq.Poller()
        for each in {wanted, self._monitor}:
            poller.register(each, zmq.POLLIN)
        left_s = deadline_s - time.monotonic()
        ready = dict(poller.poll(max(0, round(left_s * 1000))))
        if not ready:
            raise TimeoutError("no answer in time")
        return wanted in ready

    def _event(self, deadline_s: float) -> int:
        """The next event of the monitor."""
        self._wait(self._monitor, deadline_s)
        event, _ = self._monitor.recv_multipart(zmq.DONTWAIT)
        return int(_EVENT.unpack(event)[0])

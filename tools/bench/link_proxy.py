"""`LinkProxy`: a TCP link through this process that can be cut.

While it is cut nothing passes in either direction and no connection is made, as when a cable is
pulled; what was on its way waits and passes when the link is whole again. A real link takes longer
to do so: TCP repeats what was lost only after a while. It is alike for all who use it.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

_CHUNK = 1 << 16


class LinkProxy:
    """Listens at a loopback `port` of its own and passes on to `target`, another."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """From now on nothing passes."""
        self._whole.clear()

    def mend(self) -> None:
        """From now on everything passes, what has waited first."""
        self._whole.set()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed: it is over
            while True:
                near, _ = self._listener.accept()
                self._sockets.append(near)
                self._whole.wait()
                self._join(near)

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()  # the target does not listen yet
            return
        self._sockets.append(far)
        with suppress(OSError):  # both are closed when the link is
            for source, sink in ((near, far), (far, near)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._whole.wait()
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._whole.set()
        for each in list(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

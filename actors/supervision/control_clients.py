"""The connected clients of the control socket: accepted, answered in turn, disconnected.

No client costs the supervisor's loop more than SERVE_S of a turn, and none is answered twice while
another waits. Of more than MAX_CLIENTS, those that were silent for longest are disconnected.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial

from .control_socket import MAX_CLIENTS, ControlClient, ControlSocket
from .event_loop import EventLoop

SERVE_S = 0.005
ACCEPTED_PER_TURN = 32


class ControlClients:
    """The clients of `server`, whose sockets are polled by `event_loop`."""

    def __init__(self, server: ControlSocket, event_loop: EventLoop) -> None:
        self.server = server
        self._event_loop = event_loop
        self._clients: list[ControlClient] = []

    def open(self) -> None:
        """Accept clients from now on."""
        self._event_loop.add(self.server.listener.fileno(), self._accept)

    def serve(self) -> bool:
        """Send what clients have not taken yet, answer their requests in turn for at most SERVE_S,
        and drop those that are closed. Returns whether anything is left to do."""
        for client in self._clients:
            client.flush()
        deadline_s = time.monotonic() + SERVE_S
        waiting = (client for client in self._clients if client.waiting)
        turn = deque(sorted(waiting, key=lambda client: client.served_s))
        while turn and time.monotonic() < deadline_s:
            client = turn.popleft()
            self.server.answer(client)
            if client.waiting:
                turn.append(client)
        for client in self._clients:
            if client.closed:
                self._event_loop.forget(client.sock.fileno())
                client.sock.close()
        self._clients = [client for client in self._clients if not client.closed]
        return any(client.outbox or client.waiting for client in self._clients)

    def close(self) -> None:
        """Answer what can be answered at once, then close every connection and the socket."""
        self.serve()
        for client in self._clients:
            client.sock.close()
        self.server.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            client = self.server.accept()
            if client is None:
                break
            self._clients.append(client)
            self._event_loop.add(client.sock.fileno(), partial(self.server.read, client))
        excess = len(self._clients) - MAX_CLIENTS
        if excess > 0:
            for client in sorted(self._clients, key=lambda client: client.heard_s)[:excess]:
                client.closed = True
            self.serve()

"""The supervisor's control socket: one JSON object per line in, one per line out.

A request is `{"do": VERB, ...}`, its answer `{"ok": true, ...}` or `{"ok": false, "error":
SENTENCE}`. Whoever may open the socket may command the fleet: it lies in the private runtime
directory. The server never waits for a client; one that sends nonsense or does not read is cut off.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

MAX_REQUEST = 64 * 1024
MAX_UNREAD = 4 * 1024 * 1024
Answer = dict[str, Any]


class ConsoleError(Exception):
    """The fleet cannot be reached or refused: a sentence for a person."""


class Client:
    """One connected client. `reply` may come at once or later, in any order of requests."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.inbox = b""
        self.outbox = b""
        self.closed = False

    def reply(self, answer: Answer) -> None:
        if not self.closed:
            # Not `json`: its NaN, which an actor may well report, is no JSON.
            self.outbox += msgspec.json.encode(answer, enc_hook=str) + b"\n"
            self.flush()

    def hand_over(self, answer: Answer, fd: int) -> None:
        """Reply with a copy of a descriptor. Only for a client that has read all before it."""
        if self.outbox:
            self.refuse("read the answers before this one first")
            return
        line = json.dumps(answer).encode() + b"\n"
        with contextlib.suppress(OSError):
            socket.send_fds(self.sock, [line], [fd])

    def refuse(self, error: str) -> None:
        self.reply({"ok": False, "error": error})

    def flush(self) -> None:
        """Send what the client takes now."""
        with contextlib.suppress(BlockingIOError):
            try:
                while self.outbox:
                    self.outbox = self.outbox[self.sock.send(self.outbox) :]
            except ConnectionError:
                self.closed = True
        self.closed |= len(self.outbox) > MAX_UNREAD


class Console:
    """The server. The owner polls `listener` and every client's socket, and calls `accept`, `read`
    and `flush` when they say so."""

    def __init__(self, path: Path, handle: Callable[[Client, dict[str, Any]], None]) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        try:
            self.listener.bind(str(path))
        except OSError as error:
            self.listener.close()
            raise ConsoleError(
                f"the control socket {path} cannot be made ({error}); a path holds 107 bytes at "
                "most: set HOLDFAST_RUNTIME to a shorter directory"
            ) from error
        self.listener.listen(64)
        self.listener.setblocking(False)
        self._handle = handle

    def accept(self) -> Client | None:
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return None  # it left again, or there are no descriptors for it
        return Client(sock)

    def read(self, client: Client) -> None:
        """Handle the requests that have arrived; `client.closed` is true once it is done with."""
        try:
            data = client.sock.recv(MAX_REQUEST)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            client.closed = True
            return
        *lines, client.inbox = (client.inbox + data).split(b"\n")
        for line in lines:
            self._request(client, line)
        client.closed |= len(client.inbox) > MAX_REQUEST

    def close(self) -> None:
        self.listener.close()
        self.path.unlink(missing_ok=True)

    def _request(self, client: Client, line: bytes) -> None:
        try:
            request = json.loads(line)
        except ValueError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("do"), str):
            client.refuse('expected one JSON object per line, like {"do": "status"}')
            return
        self._handle(client, request)


def ask(path: Path, timeout_s: float = 10.0, **request: Any) -> Answer:
    """Send one request to the console at `path` and wait for its answer.

    Raises ConsoleError when nobody answers, or the answer is an error.
    """
    answer, fds = _exchange(path, timeout_s, request)
    for fd in fds:
        os.close(fd)
    return answer


def attach(path: Path, segment: str, timeout_s: float = 10.0) -> tuple[int, int]:
    """(read-only descriptor, size) of a shared-memory segment of the fleet whose console is at
    `path`: `r1/overhead` is a camera's frames. The caller owns the descriptor.

    Raises ConsoleError, also for a segment that the fleet does not have.
    """
    answer, fds = _exchange(path, timeout_s, {"do": "attach", "segment": segment})
    return fds[0], int(answer["size"])


def _exchange(path: Path, timeout_s: float, request: dict[str, Any]) -> tuple[Answer, list[int]]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(str(path))
            sock.sendall(json.dumps(request).encode() + b"\n")
            line, fds, _, _ = socket.recv_fds(sock, MAX_REQUEST, 1, socket.MSG_CMSG_CLOEXEC)
            parts = [line]
            while parts[-1] and not parts[-1].endswith(b"\n"):
                parts.append(sock.recv(MAX_REQUEST))
        except TimeoutError:
            raise ConsoleError(
                f"the supervisor behind {path} did not answer within {timeout_s:g} s: it is "
                "stopped or the machine is overloaded"
            ) from None
        except OSError as error:
            raise ConsoleError(f"no supervisor answers at {path}: {error.strerror}") from error
    line = b"".join(parts)
    if not line.endswith(b"\n"):
        raise ConsoleError(f"the supervisor behind {path} went away before it answered")
    answer: Answer = json.loads(line)
    if not answer.get("ok"):
        raise ConsoleError(str(answer.get("error", "refused")))
    return answer, fds

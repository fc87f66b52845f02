"""The supervisor's control socket: one JSON object per line in, one per line out.

A request is `{"do": VERB, ...}`, its answer `{"ok": true, ...}` or `{"ok": false, "error":
SENTENCE}`. A process that can open the socket may command the fleet: it is in the private runtime
directory. The server never waits for a client, answers them in turn, one request at a time, and
handles no further request of one that has not read the previous answers. A client that sends a line
without end, or lets answers accumulate, is disconnected.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ...errors import ControlSocketError

MAX_REQUEST = 1024 * 1024
"""A reload's whole fleet of a thousand actors fits into one."""
READ_BYTES = 64 * 1024
MAX_UNREAD = 4 * 1024 * 1024
MAX_CLIENTS = 128
BACKLOG = 512
"""Connections that may wait to be accepted while the supervisor does something else."""
Answer = dict[str, Any]


class ControlClient:
    """One connected client. `reply` may come at once or later, in any order of requests."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.inbox = b""
        self.outbox = b""
        self.closed = False
        self.heard_s = self.served_s = time.monotonic()
        """When data arrived from it last, and when a request of it was handled last."""

    @property
    def waiting(self) -> bool:
        """Whether a whole request has arrived, and the client has read all answers so far."""
        return b"\n" in self.inbox and not self.outbox and not self.closed

    def reply(self, answer: Answer) -> None:
        if self.closed:
            return
        try:
            # Not `json`, which writes the NaN that an actor may report as invalid JSON.
            line = msgspec.json.encode(answer, enc_hook=str)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            line = msgspec.json.encode({"ok": False, "error": f"the answer is no JSON: {error}"})
        self.outbox += line + b"\n"
        self.flush()

    def hand_over(self, answer: Answer, fd: int) -> None:
        """Reply with a copy of the descriptor `fd`; refused if the client has not read all previous
        answers."""
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


class ControlSocket:
    """The server. The owner polls `listener` and every client's socket, and calls `accept` and
    `read` when they are readable; in between it calls `flush` of every client, and `answer` for
    those that are `waiting`, in turn."""

    def __init__(self, path: Path, handle: Callable[[ControlClient, dict[str, Any]], None]) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        try:
            self.listener.bind(str(path))
        except OSError as error:
            self.listener.close()
            raise ControlSocketError(
                f"the control socket {path} cannot be made ({error}); a path holds 107 bytes at "
                "most: set HOLDFAST_RUNTIME to a shorter directory"
            ) from error
        self.listener.listen(BACKLOG)
        self.listener.setblocking(False)
        self._handle = handle

    def accept(self) -> ControlClient | None:
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return None  # it left again, or there are no descriptors for it
        return ControlClient(sock)

    def read(self, client: ControlClient) -> None:
        """Read what has arrived, and handle one request of it; sets `client.closed` at the end."""
        try:
            data = client.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        client.heard_s = time.monotonic()
        client.inbox += data
        # Beyond this it sends faster than it reads the answers, or a line without an end.
        client.closed |= not data or len(client.inbox) > MAX_REQUEST
        if client.waiting:
            self.answer(client)

    def answer(self, client: ControlClient) -> None:
        """Handle one request of a client that is `waiting`."""
        line, _, client.inbox = client.inbox.partition(b"\n")
        client.served_s = time.monotonic()
        self._request(client, line)

    def close(self) -> None:
        self.listener.close()
        self.path.unlink(missing_ok=True)

    def _request(self, client: ControlClient, line: bytes) -> None:
        try:
            # Not `json`, which accepts lone surrogates that cannot be encoded again.
            request = msgspec.json.decode(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("do"), str):
            client.refuse('expected one JSON object per line, like {"do": "status"}')
            return
        self._handle(client, request)


def ask(path: Path, timeout_s: float = 10.0, **request: Any) -> Answer:
    """Send one request to the control socket at `path` and return its answer.

    Raises ControlSocketError when there is no answer within `timeout_s`, or it is an error.
    """
    answer, fds = _exchange(path, timeout_s, request)
    for fd in fds:
        os.close(fd)
    return answer


def attach(path: Path, segment: str, timeout_s: float = 10.0) -> tuple[int, int]:
    """(read-only descriptor, size in bytes) of a segment of the fleet whose control socket is at
    `path`: `r1/overhead` is a camera's frames. The caller owns the descriptor.

    Raises ControlSocketError when there is no answer or no such segment.
    """
    answer, fds = _exchange(path, timeout_s, {"do": "attach", "segment": segment})
    return fds[0], int(answer["size"])


def _exchange(path: Path, timeout_s: float, request: dict[str, Any]) -> tuple[Answer, list[int]]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        try:
            _connect(sock, path, timeout_s)
            sock.sendall(json.dumps(request).encode() + b"\n")
            line, fds, _, _ = socket.recv_fds(sock, READ_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            parts = [line]
            while parts[-1] and not parts[-1].endswith(b"\n"):
                parts.append(sock.recv(READ_BYTES))
        except TimeoutError:
            raise ControlSocketError(
                f"the supervisor behind {path} did not answer within {timeout_s:g} s: it is "
                "stopped or the machine is overloaded"
            ) from None
        except OSError as error:
            raise ControlSocketError(
                f"no supervisor answers at {path}: {error.strerror}"
            ) from error
    line = b"".join(parts)
    if not line.endswith(b"\n"):
        raise ControlSocketError(f"the supervisor behind {path} went away before it answered")
    answer: Answer = json.loads(line)
    if not answer.get("ok"):
        raise ControlSocketError(str(answer.get("error", "refused")))
    return answer, fds


def _connect(sock: socket.socket, path: Path, timeout_s: float) -> None:
    """Connect, and wait while the queue is full, which the kernel does not do for a socket with a
    timeout. Raises TimeoutError."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return sock.connect(str(path))
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                raise TimeoutError from None
            time.sleep(0.01)

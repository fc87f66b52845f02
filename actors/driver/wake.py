"""`WakeSocket`: what wakes a driver. An empty datagram is a command in its register; any other one
is a request, and is answered to its sender.

A datagram socket, because both ends may be started anew at any time: a sender never blocks, and a
driver that is not there costs it an error that it ignores.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

MAX_REQUEST = 64 * 1024
PER_TURN = 64

_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode
_encode = msgspec.msgpack.Encoder().encode


class DriverRequest(NamedTuple):
    """A request, and the address for its answer; "" for a sender that waits for none."""

    body: dict[str, Any]
    sender: str


class WakeSocket:
    """The driver's end."""

    def __init__(self, path: Path) -> None:
        """Bind `path`; what a driver that was killed left there is removed. The caller holds the
        lock of the runtime directory."""
        path.unlink(missing_ok=True)
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._inode = path.stat().st_ino
        self.malformed = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[DriverRequest]:
        """The requests that have arrived, oldest first; never blocks."""
        requests: list[DriverRequest] = []
        for _ in range(PER_TURN):
            try:
                packet, sender = self._socket.recvfrom(MAX_REQUEST)
            except BlockingIOError:
                break
            if not packet:
                continue
            try:
                requests.append(DriverRequest(_decode(packet), sender or ""))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.malformed += 1
        return requests

    def answer(self, request: DriverRequest, body: dict[str, Any]) -> None:
        """Answer it. One whose sender is gone, or does not read, has no answer."""
        if request.sender:
            with contextlib.suppress(OSError):
                self._socket.sendto(_encode(body), request.sender)

    def close(self) -> None:
        """Close it; its file is removed unless the next driver has bound it already."""
        self._socket.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


class Waker:
    """The sender's end: `wake` costs a few microseconds and never blocks or raises."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def wake(self) -> None:
        """Tell the driver that there is a command in its register."""
        self._send(b"")

    def request(self, body: dict[str, Any]) -> None:
        """Ask the driver for something, without an answer. A request may be lost."""
        self._send(_encode(body))

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.send(packet)  # to the driver that was there last: no path to look up
        except BlockingIOError:
            return  # it has more of them than it can read
        except OSError:
            with contextlib.suppress(OSError):
                self._socket.connect(self._path)
                self._socket.send(packet)

    def close(self) -> None:
        self._socket.close()


def ask(path: Path, body: dict[str, Any], timeout_s: float = 2.0) -> dict[str, Any] | None:
    """Ask the driver behind `path`; None if there is none, or it does not answer in time."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        # An abstract address, which the kernel chooses: nothing is left behind.
        asking.bind("")
        asking.settimeout(timeout_s)
        try:
            asking.sendto(_encode(body), str(path))
            return _decode(asking.recv(MAX_REQUEST))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

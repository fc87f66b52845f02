"""`ServiceManager`: what a supervisor tells the service manager that started it.

The protocol is that of sd_notify(3): datagrams of `KEY=value` lines to the socket that
NOTIFY_SOCKET names. systemd sets it for units of `Type=notify`. Without one nothing is sent.
Guaranteed: sending never blocks, and the watchdog's messages come from the caller's loop, not from
a thread.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from .health import unhealthy

_SHARE = 0.25
"""Of the watchdog's timeout: a message is sent so often that three may be late."""
_STATUS_CHARS = 200


class ServiceManager:
    """For one supervisor, which calls `report` at every turn of its loop."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Take the variables out of `environment`: no actor speaks for the supervisor."""
        address = environment.pop("NOTIFY_SOCKET", "")
        self._alive_every_s = _SHARE * _watchdog_s(environment)
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            environment.pop(name, None)
        # systemd writes @ for the zero byte of an abstract name.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(0.0)
        self._said: list[str] = []
        self._alive_s = float("-inf")

    def report(self, status: Mapping[str, Any], stopping: bool) -> None:
        """Tell that the supervisor runs, how the fleet is, and that the loop turns.

        The supervisor is READY when it supervises, not when the fleet is healthy: a robot may wait
        for another host longer than a service manager waits for a start.
        """
        if self._socket is None:
            return
        why = unhealthy(status)
        sentence = "healthy" if status["healthy"] else f"not healthy: {'; '.join(why)}"
        lines = ["STOPPING=1" if stopping else "READY=1"]
        lines.append(f"STATUS={sentence[:_STATUS_CHARS]}".replace("\n", " "))
        unsaid = [line for line in lines if line not in self._said]
        now_s = time.monotonic()
        due = self._alive_every_s > 0 and now_s - self._alive_s >= self._alive_every_s
        if due:
            unsaid.append("WATCHDOG=1")
        if unsaid and self._send(unsaid):
            self._said = lines
            if due:
                self._alive_s = now_s

    def close(self) -> None:
        """Tell the end, which may have come before the next report."""
        if self._socket is not None:
            if "STOPPING=1" not in self._said:
                self._send(["STOPPING=1"])
            self._socket.close()

    def _send(self, lines: list[str]) -> bool:
        """Whether the service manager has them; else they are sent at the next turn."""
        assert self._socket is not None
        with suppress(OSError):
            self._socket.sendto("\n".join(lines).encode(), self._address)
            return True
        return False


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """The watchdog's timeout if it is about this process, else 0."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    given = environment.get("WATCHDOG_USEC", "")
    return int(given) / 1e6 if given.isdecimal() else 0.0

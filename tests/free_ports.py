"""TCP ports for programs that are given theirs before they listen."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

LOWEST = 10_240
_given: set[int] = set()


def free_port() -> int:
    """A port that nothing uses, another one at each call.

    It lies below those that the kernel chooses for connections and for sockets that name no port,
    so that until its program binds it no other program gets it by the kernel's choice. Each of the
    processes of tests that run at once has ports of its own.
    """
    count, index = _processes()
    while True:
        port = LOWEST + count * secrets.randbelow((_end() - LOWEST) // count) + index
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _processes() -> tuple[int, int]:
    """How many processes of tests there are, and which of them this is."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), int(worker.removeprefix("gw"))


def _end() -> int:
    """The first port that the kernel chooses; where those begin too low, a common value."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return first if first > 2 * LOWEST else 32_768


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True

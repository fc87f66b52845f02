"""The memory that peers can make a broker hold, and that it gives back: a process, and raw ZMTP."""

from __future__ import annotations

import contextlib
import socket as sockets
import struct
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import zmq

from holdfast.actors.broker.memory_bound import FLOOD_BYTES
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.tests.actors.broker.live_broker import Wire
from holdfast.tests.waiting import wait_until
from holdfast.transport.header import Kind

MB = 1 << 20
KEPT = 40 * MB
"""How much more than at the start the broker may keep."""


class Endless:
    """A peer that sends the frames of one message, and never the last."""

    def __init__(self, endpoint: str) -> None:
        self._socket = sockets.socket(sockets.AF_UNIX)
        self._socket.settimeout(0.5)
        self._socket.connect(endpoint.removeprefix("ipc://"))
        mechanism = b"NULL".ljust(20, b"\0")
        self._socket.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism + bytes(32))
        self._take(64)
        ready = b"\x05READY" + b"".join(
            bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
            for name, value in ((b"Socket-Type", b"DEALER"), (b"Identity", b"endless:1"))
        )
        self._socket.sendall(b"\x04" + bytes([len(ready)]) + ready)

    def send(self, nbytes: int) -> bool:
        """One more frame; False once the connection is closed."""
        try:
            self._socket.sendall(b"\x03" + struct.pack(">Q", nbytes) + bytes(nbytes))
        except TimeoutError:
            return True
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()

    def _take(self, nbytes: int) -> None:
        while nbytes:
            nbytes -= len(self._socket.recv(nbytes))


@pytest.fixture
def context() -> Iterator[Any]:
    made: Any = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.mark.parametrize("nbytes", [100_000, 1_000_000])
def test_a_message_without_an_end_costs_bounded_memory_which_is_given_back(
    broker_process: Any, context: Any, nbytes: int
) -> None:
    """Sessions outlive the connections that the broker closes for it."""
    replica = Wire(context, broker_process.back, "flow/0:1")
    replica.register()
    robot = Wire(context, broker_process.front, "r1:1")
    robot.open(replica)
    process = psutil.Process(broker_process.process.pid)
    start = most = process.memory_info().rss
    peer = Endless(broker_process.front)
    deadline_s = time.monotonic() + 60
    beat_s = 0.0
    while peer.send(nbytes):
        if time.monotonic() > beat_s:
            beat_s = time.monotonic() + 0.3
            replica.beat()
            replica.take()
        most = max(most, process.memory_info().rss)
        assert time.monotonic() < deadline_s, "the flood is never ended"
    peer.close()
    deadline_s = time.monotonic() + 60
    assert most - start > FLOOD_BYTES // 2, "it was a flood"
    assert most - start < 3 * FLOOD_BYTES
    seq = 0
    while True:
        replica.beat()
        seq += 1
        robot.ask(seq=seq)
        with contextlib.suppress(AssertionError):  # lost with the connection that it was sent on
            replica.backlog.insert(0, replica.get(Kind.REQUEST, patience_s=1.0))
            replica.answer()
            robot.get(Kind.REPLY, patience_s=1.0)
            break
        assert time.monotonic() < deadline_s, "the robot is not served any more"

    def given_back() -> bool:
        replica.beat()
        return process.memory_info().rss - start <= KEPT

    wait_until(given_back, "the memory to be given back", 60, every_s=0.05)
    board = broker_process.board.map(writable=False)

    def counted() -> dict[str, int] | None:
        counters: dict[str, int] = (StatusBoardReader(board).report() or {})["counters"]
        return counters if counters.get("doors-reopened") else None

    counters = wait_until(counted, "the count of reopened listeners")
    assert counters["doors-reopened"] == 1, "the replicas' connections had no part in it"
    assert not counters.get("lost")

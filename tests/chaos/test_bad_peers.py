"""A running fleet beside untrusted peers: garbage, unread answers, a message without end."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import zmq

from holdfast.actors.runtime.runtime_dir import state_dir
from holdfast.robot.sim.arm import SPEC
from holdfast.tests.actors.broker.live_broker import Wire
from holdfast.tests.chaos.conftest import ChaosFleet, actor, robot, streams_again
from holdfast.tests.hostile.corpus import Corpus
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.bodies import Open
from holdfast.transport.header import Kind

pytestmark = pytest.mark.timeout(600)
SERVICES = {"r1": "pick", "r2": "place"}


def test_untrusted_peers_cost_the_robots_no_session_and_no_tick(
    start_chaos: Callable[..., ChaosFleet],
) -> None:
    """A peer that fills the broker's memory loses its connection before the limit is reached."""
    fleet = start_chaos("bad-peers", f"  memory_mb: {{broker: {LIMIT_MB}}}")
    recorders = fleet.record()
    before = fleet.status()
    context: sockets.Context = zmq.Context()
    rundir = fleet.control_socket.parent
    try:
        send_garbage(context, rundir)
        read_nothing(context, rundir)
        flood_the_control_socket(fleet.control_socket)
    finally:
        context.destroy(linger=0)
    recovered = streams_again(before)
    after = fleet.wait_for(lambda status: recovered(status) and counted(status), 60)
    for row in after["actors"]:
        assert row["pid"] == actor(before, row["name"])["pid"], f"{row['name']} was restarted"
    for row in after["robots"]:
        was = robot(before, row["name"])
        assert row["epoch"] == was["epoch"], "it lost its session"
        assert row["stalled_ticks"] == was["stalled_ticks"]

    with Endless(rundir / "broker.front") as peer:
        ended = fleet.wait_for(lambda status: reopened(status) > 0, 60)
        peer.join(60)
        assert not peer.is_alive(), "its connection was not ended"
    streaming = fleet.wait_for(streams_again(ended), 60)
    settled = fleet.wait_for(
        lambda status: (
            actor(status, "broker")["memory_mb"] < actor(after, "broker")["memory_mb"] + 40
        ),
        60,
    )
    for status in (streaming, settled):
        broker = actor(status, "broker")
        assert broker["restarts"] == 0 and broker["pid"] == actor(before, "broker")["pid"]
        assert reopened(status) == 1, "the replicas' connections had no part in it"
        for row in status["robots"]:
            was = robot(after, row["name"])
            # A request that was lost with its connection is asked again over the next one.
            assert row["stalled_ticks"] == was["stalled_ticks"]
            assert row["epoch"] == was["epoch"], "it lost its session"
            assert row["missed_ticks_restart"] == was["missed_ticks_restart"] == 0
    wait_until(lambda: [m for m in messages(fleet) if "peers fill the memory" in m], "the record")
    said = messages(fleet)
    assert sum("peers fill the memory" in message for message in said) == 1
    assert not any("of memory, its limit is" in message for message in said)
    fleet.end_well(recorders, SERVICES)


LIMIT_MB = 300
"""At which the supervisor restarts the broker."""


def reopened(status: dict[str, Any]) -> int:
    """How often the broker ended all connections of one side."""
    return int(actor(status, "broker")["report"]["counters"].get("doors-reopened", 0))


def counted(status: dict[str, Any]) -> bool:
    """Whether the broker's report has the peer in quarantine and the messages without a header."""
    counters = actor(status, "broker")["report"]["counters"]
    return bool(counters.get("quarantined") and counters.get("header"))


def messages(fleet: ChaosFleet) -> list[str]:
    """Those of the log, but for a last line that is being written."""
    lines = (state_dir(fleet.name) / "log.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line)["message"] for line in lines if line.endswith("\n")]


def send_garbage(context: sockets.Context, rundir: Path) -> None:
    """To both listeners, as several peers; the last one sends most and is quarantined."""
    corpus = Corpus(seed=41)
    for side in ("front", "back"):
        for n, frames in enumerate(corpus.messages(300)):
            if n % 15 == 0 and n < 200:
                peer = Wire(context, sockets.ipc(rundir, f"broker.{side}"), f"evil/{n}:1")
            peer.raw([b"r1", *frames] if side == "back" else frames)


def read_nothing(context: sockets.Context, rundir: Path) -> None:
    """A robot with a session that makes requests for 3 s and reads no answer."""
    slow = Wire(context, sockets.ipc(rundir, "broker.front"), "slow:1", hwm=1)
    asked = Open(
        robot="slow",
        service="pick",
        action_names=SPEC.action_names,
        state_names=SPEC.state_names,
        cameras={"overhead": (64, 48)},
        fps=30.0,
    )
    slow.say(asked, epoch=1)
    slow.get(Kind.ACCEPT)
    end_s = time.monotonic() + 3
    seq = 0
    while time.monotonic() < end_s:
        seq += 1
        if slow.socket.poll(10, zmq.POLLOUT):
            slow.ask(seq, nbytes=200_000)


def flood_the_control_socket(path: Path) -> None:
    """Deep JSON, endless lines, requests whose answers are not read."""
    for said in (b"[" * 60_000 + b"\n", b"x" * 200_000, b'{"do": "status"}\n' * 3000):
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.settimeout(2)
            sock.connect(str(path))
            sock.sendall(said)


class Endless(threading.Thread):
    """A ZMTP 3 peer that sends one message without end, as fast as its frames are taken; libzmq
    puts no bound on what its receiver keeps of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self.join(60)

    def run(self) -> None:
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 32)
        ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x05bad:1"
        size = 1 << 20
        frame = b"\x03" + size.to_bytes(8, "big") + bytes(size)  # long, and more to come
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.settimeout(2)
            sock.connect(str(self._path))
            sock.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready)
            while not self._ended.is_set():
                sock.sendall(frame)

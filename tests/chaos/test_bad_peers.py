"""A running fleet beside peers that mean no good: robots notice nothing, also while one of them
fills the broker's memory."""

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
from holdfast.tests.actors.broker.conftest import Wire
from holdfast.tests.chaos.conftest import ChaosFleet, actor, robot, streams_again
from holdfast.tests.hostile.corpus import Corpus
from holdfast.transport import sockets
from holdfast.transport.header import Kind
from holdfast.transport.messages import Open

pytestmark = pytest.mark.timeout(300)
SERVICES = {"r1": "pick", "r2": "place"}


def test_hostile_slow_and_endless_peers_cost_the_robots_nothing(
    start_chaos: Callable[..., ChaosFleet],
) -> None:
    """A peer that fills the broker's memory loses its connection before the supervisor's limit is
    reached, and the robots keep their sessions through the connections that they make anew."""
    fleet = start_chaos("bad-peers", f"  memory_mb: {{broker: {LIMIT_MB}}}")
    recorders = fleet.record()
    before = fleet.status()
    context: sockets.Context = zmq.Context()
    rundir = fleet.console.parent
    try:
        send_garbage(context, rundir)
        read_nothing(context, rundir)
        talk_to_the_console(fleet.console)
    finally:
        context.destroy(linger=0)
    fleet.wait_for(streams_again(before), 30)
    after = fleet.status()
    for row in after["actors"]:
        assert row["pid"] == actor(before, row["name"])["pid"], f"{row['name']} was restarted"
    for row in after["robots"]:
        was = robot(before, row["name"])
        assert row["epoch"] == was["epoch"], "nobody lost a session"
        assert row["stalled_ticks"] == was["stalled_ticks"]
    counters = actor(after, "broker")["report"]["counters"]
    assert counters["quarantined"] >= 1 and counters["header"] >= 1, counters

    with Endless(rundir / "broker.front") as peer:
        ended = fleet.wait_for(lambda now: reopened(now) > 0, 60)
        peer.join(10)
        assert not peer.is_alive(), "its connection was not ended"
    recovered = fleet.wait_for(streams_again(ended), 10)
    settled = fleet.wait_for(
        lambda now: actor(now, "broker")["memory_mb"] < actor(after, "broker")["memory_mb"] + 40, 30
    )
    for now in (recovered, settled):
        broker = actor(now, "broker")
        assert broker["restarts"] == 0 and broker["pid"] == actor(before, "broker")["pid"]
        assert reopened(now) == 1, "the replicas' connections had no part in it"
        for row in now["robots"]:
            was = robot(after, row["name"])
            # It may stall: a request that was lost with its connection is asked again only after
            # its timeout, which is about as long as the plan.
            assert row["epoch"] == was["epoch"], "it lost its session"
            assert row["missed_ticks_restart"] == was["missed_ticks_restart"] == 0
    said = [record["message"] for record in log(fleet)]
    assert sum("peers fill the memory" in message for message in said) == 1
    assert not any("of memory, its limit is" in message for message in said)
    fleet.end_well(recorders, SERVICES)


LIMIT_MB = 300
"""At which the supervisor restarts the broker."""


def reopened(status: dict[str, Any]) -> int:
    """How often the broker ended all connections of one side."""
    return int(actor(status, "broker")["report"]["counters"].get("doors-reopened", 0))


def log(fleet: ChaosFleet) -> list[dict[str, Any]]:
    lines = (state_dir(fleet.name) / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def send_garbage(context: sockets.Context, rundir: Path) -> None:
    """At both doors, from many and from one that is shut out for it."""
    corpus = Corpus(seed=41)
    for door in ("front", "back"):
        for n, frames in enumerate(corpus.messages(300)):
            if n % 15 == 0 and n < 200:
                stranger = Wire(context, sockets.ipc(rundir, f"broker.{door}"), f"evil/{n}:1")
            stranger.raw([b"r1", *frames] if door == "back" else frames)


def read_nothing(context: sockets.Context, rundir: Path) -> None:
    """A robot with a session that asks without end and takes no answer."""
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
    until = time.monotonic() + 3
    seq = 0
    while time.monotonic() < until:
        seq += 1
        if slow.socket.poll(10, zmq.POLLOUT):
            slow.ask(seq, nbytes=200_000)


def talk_to_the_console(path: Path) -> None:
    """Deep JSON, endless lines, questions whose answers nobody reads."""
    for said in (b"[" * 60_000 + b"\n", b"x" * 200_000, b'{"do": "status"}\n' * 3000):
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.settimeout(2)
            sock.connect(str(path))
            sock.sendall(said)


class Endless(threading.Thread):
    """A peer that speaks ZMTP 3 by hand and sends one message whose frames never end, as fast as
    they are taken. Nothing in libzmq bounds what its receiver keeps of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self.join(10)

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

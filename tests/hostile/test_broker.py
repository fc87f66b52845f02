"""A broker process among hostile peers, on both of its listeners: it stays the same process, counts
what it drops by reason, does not grow, and serves well-behaved peers meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zmq

from holdfast.tests.actors.broker.live_broker import Wire
from holdfast.tests.hostile.corpus import Corpus
from holdfast.transport import sockets
from holdfast.transport.bodies import Request
from holdfast.transport.header import Header, Kind
from holdfast.transport.limits import DEFAULT
from holdfast.transport.messages import Blobs

pytestmark = pytest.mark.timeout(600)
PROMPT_S = 30.0
GROWTH_MB = 150


class Site:
    """A robot with a session at a replica, both well-behaved, and hostile peers."""

    def __init__(self, broker: Any, rundir: Path) -> None:
        self.broker = broker
        self.rundir = rundir
        self.context: sockets.Context = zmq.Context()
        self.replica = self.peer("back", "flow/0:1")
        self.replica.register()
        self.robot = self.peer("front", "r1:1")
        self.robot.open(self.replica)
        self.seq = 0
        self.took_s: list[float] = []

    def peer(self, listener: str, identity: str, **options: Any) -> Wire:
        wire = Wire(self.context, sockets.ipc(self.rundir, listener), identity, **options)
        wire.is_replica = listener == "back"
        return wire

    def serves(self) -> None:
        """One request of the robot is answered, in time."""
        began_s = time.monotonic()
        self.seq += 1
        self.replica.beat()
        self.robot.ask(self.seq)
        self.replica.answer(self.seq)
        assert self.robot.get(Kind.REPLY, PROMPT_S)[1].header.seq == self.seq
        self.took_s.append(time.monotonic() - began_s)
        self.replica.backlog.clear()  # the broker's heartbeats
        self.robot.backlog.clear()


@pytest.fixture
def site(start_actor: Callable[..., Any], rundir: Path) -> Iterator[Site]:
    """Silent peers stay: their loss is not what is tested here."""
    config = {
        "front": sockets.ipc(rundir, "front"),
        "back": sockets.ipc(rundir, "back"),
        "replica_lost_after_s": 60.0,
        "robot_lost_after_s": 60.0,
    }
    broker = start_actor("broker", "broker", config)
    site = Site(broker, rundir)
    try:
        for _ in range(20):
            site.serves()
        broker.mark()
        yield site
        site.serves()
        broker.check(GROWTH_MB)
    finally:
        site.context.destroy(linger=0)


@pytest.mark.parametrize("listener", ["front", "back"])
def test_hostile_messages_are_counted_by_reason_and_their_senders_quarantined(
    site: Site, listener: str
) -> None:
    """Many peers send a few each, so that all are read; one that goes on is quarantined."""
    corpus = Corpus(seed=3)
    for n, frames in enumerate(corpus.messages(450)):
        if n % 15 == 0:
            hostile = site.peer(listener, f"evil/{n}:1")
        hostile.raw([b"r1", *frames] if listener == "back" and n % 3 else frames)
        if n % 50 == 0:
            site.serves()
    worst = site.peer(listener, "worst/0:1")
    for frames in corpus.messages(200):
        worst.raw(frames)
    site.serves()
    reasons = ("header", "version", "kind", "body", "body-bytes", "frames", "nesting")
    site.broker.until(
        lambda s: all(s["counters"].get(reason) for reason in (*reasons, "quarantined"))
    )
    site.broker.until(lambda s: "worst/0" in s["quarantined"])


def test_a_flood_from_one_peer_delays_the_others_little(site: Site) -> None:
    """Requests without a session as fast as the socket takes them: some answer comes in 2 s."""
    flood = site.peer("front", "flood:1", hwm=1000)
    header = Header(Kind.REQUEST, seq=1, epoch=9).pack()
    site.took_s.clear()
    until_s = time.monotonic() + 3.0
    sent = 0
    while time.monotonic() < until_s or sent < 2000:
        sent += sockets.send(flood.socket, [header, b"\x80", os.urandom(2000)])
        if sent % 500 == 0:
            site.serves()
            with contextlib.suppress(zmq.Again):
                while True:  # it takes its answers, so that nothing but the flood is measured
                    flood.socket.recv_multipart(zmq.DONTWAIT)
    # A flood would delay each of them; a machine that pauses delays some.
    assert min(site.took_s) < 2.0 and statistics.median(site.took_s) < 10.0, site.took_s


def test_messages_as_large_as_allowed_do_not_pile_up(site: Site) -> None:
    """Of a robot whose replica does not keep up only the newest request is kept."""
    blobs = Blobs()
    body = Request(state=blobs.array(np.zeros(1, np.float32)))
    blobs += [bytes(4_000_000)] * 8
    for seq in range(1000, 1020):
        site.robot.say(body, blobs=blobs, seq=seq, epoch=1)
    site.broker.until(lambda s: s["counters"].get("superseded", 0) >= 5)
    last = 0
    while last != 1019:
        last = site.replica.get(Kind.REQUEST)[1].header.seq
    site.seq = last


def test_a_frame_beyond_the_limit_costs_its_sender_the_connection(site: Site) -> None:
    """The broker disconnects that peer only, and does not grow."""
    giant = site.peer("front", "giant:1")
    giant.raw([Header(Kind.REQUEST).pack(), bytes(DEFAULT.max_blob_bytes + 1)])
    site.serves()


@pytest.mark.parametrize("listener", ["front", "back"])
def test_a_thousand_connections_that_speak_no_zmtp_cost_a_descriptor_each_while_they_last(
    site: Site, listener: str
) -> None:
    """Random bytes, incomplete greetings and silence; all descriptors are freed afterwards."""
    chance = random.Random(5)
    process = psutil.Process(site.broker.process.pid)
    descriptors = process.num_fds()
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16 + 32)
    greetings = (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff",
        greeting[:20],
        greeting,
        greeting + b"\x04",
    )
    connections = []
    try:
        for n in range(1000):
            connections.append(socket.socket(socket.AF_UNIX))
            connections[-1].connect(str(site.rundir / listener))
            with contextlib.suppress(OSError):
                connections[-1].sendall(chance.choice((*greetings, chance.randbytes(100))))
            if n % 250 == 0:
                site.serves()
        site.serves()
    finally:
        for connection in connections:
            connection.close()
    site.broker.until(lambda _: process.num_fds() < descriptors + 50)

"""A robot's network actor between a faulty broker and a faulty control loop: it passes what is
well-formed, counts the rest, and does not grow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.errors import WireError
from holdfast.tests.actors.network.network_bench import SHAPE, Bench
from holdfast.tests.hostile.corpus import Corpus
from holdfast.tests.waiting import wait_until
from holdfast.transport import bodies, messages, sockets
from holdfast.transport.bodies import Heartbeat, Reply
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs, Message

pytestmark = pytest.mark.timeout(600)


class Between:
    """The two sides of the actor, and the next epoch."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.epoch = 0

    def passes_a_request(self) -> None:
        """A handshake, a request and its reply pass, among other messages."""
        bench = self.bench
        self.epoch += 1
        bench.open(shm=True, epoch=self.epoch)
        bench.camera.put(np.zeros(SHAPE, np.uint8), time.monotonic_ns())
        bench.request(epoch=self.epoch)
        while (asked := bench.at_broker(Kind.REQUEST)).header.epoch != self.epoch:
            pass
        blobs = Blobs()
        chunk = np.full((8, 1), self.epoch, np.float32)
        body = Reply(chunk_model=blobs.array(chunk), chunk=blobs.array(chunk))
        self.from_broker(messages.encode(asked.header._replace(kind=Kind.REPLY), body, blobs))
        while (answer := self.hear()).header.kind is not Kind.REPLY or (
            answer.header.epoch != self.epoch
        ):
            pass
        assert (answer.array(answer.body.chunk) == self.epoch).all()

    def hear(self) -> Message[Any]:
        """The next well-formed message that reaches control."""
        while True:
            try:
                return messages.decode(self.bench.control.next())
            except WireError:
                continue

    def from_broker(self, frames: list[Any]) -> None:
        self._push(partial(sockets.send, self.bench.front, [self.bench.peer, *frames]))

    def from_control(self, frames: list[Any]) -> None:
        self._push(partial(self.bench.control.send, frames))

    def take(self) -> None:
        """Read what has arrived on both sides, so that the actor is never kept from sending."""
        while self.bench.front.poll(0):
            self.bench.front.recv_multipart()
        while self.bench.control.poll(0):
            with suppress(WireError):
                self.bench.control.receive()

    def settle(self) -> None:
        """Read on both sides until the actor can send again, by its own heartbeats."""
        while True:
            full = self.status()["dropped"].get("broker-full", 0)
            until_s = time.monotonic() + 0.6  # two of its reports
            while time.monotonic() < until_s:
                self.take()
                time.sleep(0.01)
            if self.status()["dropped"].get("broker-full", 0) == full:
                return

    def status(self) -> dict[str, Any]:
        return StatusBoardReader(self.bench.boot.memory["r1/network/board"]).report() or {}

    def _push(self, send: Callable[[], bool]) -> None:
        def sent() -> bool:
            if send():
                return True
            self.take()
            return False

        wait_until(sent, "the actor to take a message", every_s=0)


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Between]:
    bench = Bench(tmp_path, broker_lost_after_s=30.0)
    between = Between(bench)
    between.passes_a_request()
    yield between
    between.settle()
    between.passes_a_request()
    bench.close()


def test_hostile_messages_from_both_sides_are_counted_and_survived(between: Between) -> None:
    """All but OPEN from control's side, whose epoch is control's to choose."""
    memory = psutil.Process().memory_info().rss
    corpus = Corpus(seed=29, epoch=1)
    for n, frames in enumerate(corpus.messages(500)):
        between.from_broker(frames)
        if not _opens(frames):
            between.from_control(frames)
        between.take()
        if n % 100 == 0:
            between.passes_a_request()
    wanted = {"header", "version", "kind", "frames", "stale-epoch"}
    wait_until(lambda: wanted <= set(between.status().get("dropped", {})), "counts of all reasons")
    assert psutil.Process().memory_info().rss - memory < 150e6


def test_a_control_loop_that_does_not_read_costs_a_bounded_queue(between: Between) -> None:
    """Messages for it are dropped and counted."""
    header = Header(Kind.EVENT, epoch=between.epoch)
    frames = messages.encode(header, bodies.Event(what="draining", message="x" * 1000))

    def dropped() -> int:
        sockets.send(between.bench.front, [between.bench.peer, *frames])
        while between.bench.front.poll(0):
            between.bench.front.recv_multipart()
        return int(between.status().get("dropped", {}).get("control-full", 0))

    wait_until(dropped, "dropped messages to control", every_s=0)


def test_a_broker_that_does_not_read_costs_requests_and_no_memory(between: Between) -> None:
    """Each request is answered by an error, so that control asks again."""
    memory = psutil.Process().memory_info().rss
    beat = messages.encode(Header(Kind.HEARTBEAT), Heartbeat(progress=1))

    def dropped() -> int:
        sockets.send(between.bench.front, [between.bench.peer, *beat])
        between.bench.camera.put(np.zeros(SHAPE, np.uint8), time.monotonic_ns())
        between.bench.request(epoch=between.epoch)
        while between.bench.control.poll(0):
            between.bench.control.receive()
        return int(between.status().get("dropped", {}).get("broker-full", 0))

    wait_until(dropped, "dropped messages to the broker", every_s=0)
    assert psutil.Process().memory_info().rss - memory < 100e6


def _opens(frames: list[bytes]) -> bool:
    try:
        return Header.unpack(frames[0]).kind is Kind.OPEN
    except (WireError, IndexError):
        return False

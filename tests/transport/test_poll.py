"""Waiting for sockets: nothing that arrives is slept over."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.transport import sockets
from holdfast.transport.poll import Poll

PATIENCE_MS = 10_000


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def _pair(context: sockets.Context, name: str) -> tuple[sockets.Socket, sockets.Socket]:
    endpoint = f"inproc://{name}"
    router, dealer = sockets.router(context, endpoint), sockets.dealer(context, endpoint, "r1:1")
    return router, dealer


def _until_named(poll: Poll, source: object) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1e3
    while source not in poll.wait(PATIENCE_MS):
        assert time.monotonic() < deadline


def test_a_message_wakes_and_silence_does_not(context: sockets.Context) -> None:
    router, dealer = _pair(context, "one")
    poll = Poll(router)
    assert poll.wait(0) == set()
    assert sockets.send(dealer, [b"x"])
    _until_named(poll, router)
    _until_named(poll, router)  # it is still there
    assert sockets.receive(router) == [b"r1:1", b"x"]
    assert poll.wait(0) == set()


def test_a_plain_descriptor_wakes_with_bytes_and_at_its_end() -> None:
    reading, writing = os.pipe()
    poll = Poll(reading)
    assert poll.wait(0) == set()
    os.write(writing, b"x")
    assert poll.wait(PATIENCE_MS) == {reading}
    os.read(reading, 1)
    os.close(writing)
    assert poll.wait(PATIENCE_MS) == {reading}
    os.close(reading)


def test_a_socket_that_takes_messages_again_wakes_who_waits_to_send(
    context: sockets.Context, tmp_path: Path
) -> None:
    dealer = sockets.dealer(context, sockets.ipc(tmp_path, "late"), "r1:1")
    poll = Poll(dealer)
    assert poll.wait(20, sendable=dealer) == set()
    router = sockets.router(context, sockets.ipc(tmp_path, "late"))
    deadline = time.monotonic() + PATIENCE_MS / 1e3
    while dealer not in poll.wait(PATIENCE_MS, sendable=dealer):
        assert time.monotonic() < deadline
    assert sockets.send(dealer, [b"x"])
    assert poll.wait(0) == set()  # who has nothing to send is not woken
    router.close(linger=0)


def test_a_quiet_socket_is_heard_every_time(context: sockets.Context) -> None:
    """A monitor: read until it is empty, never written to."""
    router, dealer = _pair(context, "two")
    monitor = router.get_monitor_socket(zmq.EVENT_ALL)
    reader = context.socket(zmq.PAIR)
    writer = context.socket(zmq.PAIR)
    reader.bind("inproc://quiet")
    writer.connect("inproc://quiet")
    with pytest.raises(zmq.Again):
        reader.recv(zmq.DONTWAIT)
    poll = Poll()
    poll.add(reader, quiet=True)
    for n in range(200):
        thread = threading.Thread(target=writer.send, args=(b"%d" % n,), daemon=True)
        thread.start()
        heard: list[bytes] = []
        while not heard:
            assert poll.wait(PATIENCE_MS) == {reader}
            while True:
                try:
                    heard.append(reader.recv(zmq.DONTWAIT))
                except zmq.Again:
                    break
        assert heard == [b"%d" % n]
        thread.join()
    router.disable_monitor()
    monitor.close()
    dealer.close(linger=0)


@settings(max_examples=15)
@given(st.lists(st.sampled_from(["there", "back", "look"]), min_size=1, max_size=60))
def test_no_message_is_slept_over_whatever_is_sent_in_between(turns: list[str]) -> None:
    """A send takes in what arrived meanwhile, and with it the descriptor's signal."""
    context: sockets.Context = zmq.Context()
    try:
        router, dealer = _pair(context, "three")
        poll = Poll(router)
        sockets.send(dealer, [b"hello"])
        _until_named(poll, router)
        sockets.receive(router)
        waiting = 0
        for turn in turns:
            if turn == "there":
                waiting += sockets.send(dealer, [b"x"])
            elif turn == "back":
                sockets.send(router, [b"r1:1", b"y"])
                sockets.receive(dealer)
            elif waiting:
                _until_named(poll, router)
                assert sockets.receive(router) == [b"r1:1", b"x"]
                waiting -= 1
        for _ in range(waiting):
            _until_named(poll, router)
            assert sockets.receive(router) == [b"r1:1", b"x"]
        assert poll.wait(0) == set()
    finally:
        context.destroy(linger=0)

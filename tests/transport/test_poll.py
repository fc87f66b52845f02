"""Waiting for sockets: no message is missed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.poll import Poll, ms_until

PATIENCE_MS = 60_000


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
    wait_until(lambda: source in poll.wait(PATIENCE_MS), "the poll to name it")


@given(st.integers(0, 2**62), st.integers(-(10**12), 10**12))
def test_a_wait_until_an_instant_ends_at_most_a_millisecond_after_it(
    now_ns: int, ahead_ns: int
) -> None:
    """And not before it; an instant that is past is not waited for."""
    waited_ns = ms_until(now_ns + ahead_ns, now_ns) * 1_000_000
    assert 0 <= waited_ns - max(0, ahead_ns) < 1_000_000


def test_a_poll_names_a_socket_while_a_message_is_there(context: sockets.Context) -> None:
    """The socket is returned until the message is received, and only then."""
    router, dealer = _pair(context, "one")
    poll = Poll(router)
    assert poll.wait(0) == set()
    assert sockets.send(dealer, [b"x"])
    _until_named(poll, router)
    _until_named(poll, router)  # it is still there
    assert sockets.receive(router) == [b"r1:1", b"x"]
    assert poll.wait(0) == set()


def test_a_poll_names_a_descriptor_with_bytes_and_at_its_end() -> None:
    """A pipe is returned when it is readable and when it is closed."""
    reading, writing = os.pipe()
    poll = Poll(reading)
    assert poll.wait(0) == set()
    os.write(writing, b"x")
    assert poll.wait(PATIENCE_MS) == {reading}
    os.read(reading, 1)
    os.close(writing)
    assert poll.wait(PATIENCE_MS) == {reading}
    os.close(reading)


def test_a_poll_names_a_sendable_socket_to_its_sender_only(
    context: sockets.Context, tmp_path: Path
) -> None:
    """It is returned once it takes messages, and only with `sendable`."""
    dealer = sockets.dealer(context, sockets.ipc(tmp_path, "late"), "r1:1")
    poll = Poll(dealer)
    assert poll.wait(20, sendable=(dealer,)) == set()
    router = sockets.router(context, sockets.ipc(tmp_path, "late"))
    wait_until(
        lambda: dealer in poll.wait(PATIENCE_MS, sendable=(dealer,)), "the dealer to connect"
    )
    assert sockets.send(dealer, [b"x"])
    assert poll.wait(0) == set()  # without `sendable` it is not
    router.close(linger=0)


def test_a_quiet_socket_wakes_the_poll_for_every_message(context: sockets.Context) -> None:
    """A socket that is only received from misses no message."""
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
def test_no_message_is_missed_whatever_is_sent_in_between(turns: list[str]) -> None:
    """A send reads the socket's events too, and must not hide a message."""
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

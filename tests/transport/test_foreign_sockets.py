"""Sockets for programs of other projects: which of their connections ended, and that ours did."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.client_router import ClientRouter
from holdfast.transport.limits import Limits
from holdfast.transport.request_socket import RequestSocket


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    made: sockets.Context = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def router(context: sockets.Context) -> Iterator[ClientRouter]:
    made = ClientRouter(context, "tcp://127.0.0.1:*", Limits(max_blob_bytes=1 << 16))
    yield made
    made.close()


def client(context: sockets.Context, router: ClientRouter) -> sockets.Socket:
    """A REQ socket that has asked."""
    made = context.socket(zmq.REQ)
    made.setsockopt(zmq.LINGER, 0)
    made.connect(router.socket.getsockopt_string(zmq.LAST_ENDPOINT))
    made.send(b"hello")
    return made


def next_of(router: ClientRouter) -> bytes:
    """The identity of the next message."""
    wait_until(lambda: router.socket.poll(0), "a message", 60, 0.01)
    messages, ended = router.receive(1)
    assert ended == []
    return messages[0][0]


def test_a_connection_that_ended_is_named_once_also_where_its_descriptor_is_used_again(
    context: sockets.Context, router: ClientRouter
) -> None:
    """Ten one after the other, each gone before the next comes, beside one that stays."""
    stays = client(context, router)
    kept = next_of(router)
    for _ in range(10):
        goes = client(context, router)
        gone = next_of(router)
        goes.close()
        found: list[bytes] = []

        def ended(into: list[bytes] = found) -> bool:
            into += router.receive(8)[1]
            return bool(into)

        wait_until(ended, "the end of the connection", 60, 0.01)
        assert found == [gone]
    assert router.send([kept, b"", b"you"])
    assert stays.recv() == b"you"
    stays.close()


def test_an_answer_to_a_client_that_is_gone_is_not_kept(
    context: sockets.Context, router: ClientRouter
) -> None:
    """The send says so at once, and nothing waits."""
    goes = client(context, router)
    gone = next_of(router)
    goes.close()
    wait_until(lambda: not router.send([gone, b"", b"x"]), "the refusal", 60, 0.01)


def test_a_connection_to_nothing_or_to_another_protocol_is_an_error_at_once(
    context: sockets.Context,
) -> None:
    """ConnectionError, before the deadline, with what was found."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        deadline_s = time.monotonic() + 60
        with pytest.raises(ConnectionError, match="nothing listens there"):
            RequestSocket(context, f"tcp://127.0.0.1:{port}", deadline_s, 1 << 16)
        other.listen()

        def answer() -> None:
            peer, _ = other.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100))

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConnectionError, match="another protocol"):
            RequestSocket(context, f"tcp://127.0.0.1:{port}", deadline_s, 1 << 16)
        thread.join(60)
    with pytest.raises(ValueError, match="cannot be connected to"):
        RequestSocket(context, "nonsense", deadline_s, 1 << 16)


def test_a_connection_that_is_lost_in_mid_request_is_an_error_at_once(
    context: sockets.Context,
) -> None:
    """The answer would never come; also not where the server is back a moment later."""
    server = context.socket(zmq.REP)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    made = RequestSocket(context, f"tcp://127.0.0.1:{port}", time.monotonic() + 60, 1 << 16)

    def leave() -> None:
        server.recv()
        server.close(linger=0)

    thread = threading.Thread(target=leave)
    thread.start()
    began_s = time.monotonic()
    with pytest.raises(ConnectionError, match="was lost"):
        made.exchange(b"hello", began_s + 100)
    assert time.monotonic() - began_s < 60
    thread.join(60)
    made.close()


def test_a_server_that_gives_no_answer_costs_no_more_than_the_time(
    context: sockets.Context,
) -> None:
    """TimeoutError at the deadline, after which its late answer is not taken for another's."""
    server = context.socket(zmq.REP)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    address = f"tcp://127.0.0.1:{port}"
    made = RequestSocket(context, address, time.monotonic() + 60, 1 << 16)
    with pytest.raises(TimeoutError):
        made.exchange(b"one", time.monotonic() + 0.05)
    assert server.recv() == b"one"
    server.send(b"late")
    again = RequestSocket(context, address, time.monotonic() + 60, 1 << 16)
    thread = threading.Thread(target=lambda: server.send(server.recv()))
    thread.start()
    assert again.exchange(b"two", time.monotonic() + 60) == b"two"
    thread.join(60)
    again.close()

"""Connections between processes of one host: their beginning, their end, and how many there are."""

from __future__ import annotations

import os
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from holdfast.tests.transport.packet_peers import WaitingClient, WaitingServer, large, raw
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.packet_client import PacketClient
from holdfast.transport.packet_server import PacketServer
from holdfast.transport.poll import Poll


def test_a_peer_that_is_not_there_is_not_sent_to(endpoint: str) -> None:
    """A client's `send` connects once there is one, also to the next one."""
    with closing(WaitingClient(endpoint, "r1:1")) as client:
        assert not client.send([b"a"]) and client.receive() is None
        for _ in range(2):
            with closing(WaitingServer(endpoint)) as server:
                assert not server.send(b"r1:1", [b"a"])
                assert client.send([b"b"])
                assert server.next() == (b"r1:1", [b"b"])
                assert server.send(b"r1:1", [b"last"])
            assert client.next() == [b"last"]
            assert client.poll(60_000) and client.receive() is None
            assert not client.connected and not client.send([b"c"])


def test_the_end_of_a_client_is_noticed(server: WaitingServer, client: WaitingClient) -> None:
    """What it had sent arrives; what it had not read is no fault."""
    client.send([b"a"])
    server.next()
    assert server.send(b"r1:1", [b"unread"])
    client.send([b"b"])
    client.close()
    assert server.next() == (b"r1:1", [b"b"])
    wait_until(lambda: not (server.poll(0) or server.send(b"r1:1", [b"c"])), "the end of it")


def test_what_a_client_sent_before_its_end_is_received_after_a_send_to_it_failed(
    server: WaitingServer, client: WaitingClient
) -> None:
    """All of it, in order; then the next connection of its identity is heard."""
    client.send([b"a"])
    server.next()
    client.send([b"b"])
    client.send([b"last"])
    client.close()
    assert not server.send(b"r1:1", [b"answer"]) and not server.has(b"r1:1")
    assert client.send([b"new"])
    assert [server.next()[1] for _ in range(3)] == [[b"b"], [b"last"], [b"new"]]
    assert server.send(b"r1:1", [b"answer"])
    assert client.next() == [b"answer"]


def test_what_a_server_sent_before_its_end_is_received_after_a_send_to_it_failed(
    endpoint: str,
) -> None:
    """Then `send` connects to the next server."""
    with closing(WaitingClient(endpoint, "r1:1")) as client:
        with closing(WaitingServer(endpoint)) as server:
            client.send([b"a"])
            server.next()
            assert server.send(b"r1:1", [b"b"]) and server.send(b"r1:1", [b"last"])
        with closing(WaitingServer(endpoint)) as server:
            assert not client.send([b"c"]) and not client.send([b"d"])
            assert client.next() == [b"b"] and client.next() == [b"last"]
            assert client.poll(60_000) and client.receive() is None
            assert client.send([b"e"])
            assert server.next()[1] == [b"e"]


def test_a_client_that_comes_back_is_heard_after_what_it_had_sent_before(endpoint: str) -> None:
    """Also where a second connection under an identity is refused."""
    with ExitStack() as opened:
        server = opened.enter_context(closing(WaitingServer(endpoint, handover=False)))
        client = opened.enter_context(closing(WaitingClient(endpoint, "r1:1")))
        client.send([b"a"])
        server.next()
        words = [bytes([letter]) for letter in b"bcdefg"]
        for word in words[:4]:
            client.send([word])
        client.close()
        for word in words[4:]:
            client.send([word])
        assert [server.next()[1] for _ in words] == [[word] for word in words]


@pytest.mark.parametrize("handover", [True, False])
def test_an_identity_belongs_to_one_connection(endpoint: str, handover: bool) -> None:
    """The newest, with handover; else the first, until that ends."""
    with ExitStack() as opened:
        server = opened.enter_context(closing(WaitingServer(endpoint, handover=handover)))
        first, second = (
            opened.enter_context(closing(WaitingClient(endpoint, "r1:1"))) for _ in range(2)
        )
        assert first.send([b"first"])
        assert server.next()[1] == [b"first"]
        assert second.send([b"second"])
        if handover:
            assert server.next()[1] == [b"second"]
        else:
            assert not server.poll(50)
        server.send(b"r1:1", [b"answer"])
        holder, other = (second, first) if handover else (first, second)
        assert holder.next() == [b"answer"]
        assert other.poll(60_000) and other.receive() is None and not other.connected
        holder.close()
        assert other.send([b"again"])
        assert server.next()[1] == [b"again"]


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process can open nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open("/dev/null", os.O_RDONLY)
    os.close(probe)
    # Descriptors are given from the lowest on that is free; those that are open stay.
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_for_which_there_is_no_descriptor_waits_for_one(endpoint: str) -> None:
    """Without an error, and without waking the poll again and again; what was sent arrives then."""
    poll = Poll()
    with closing(PacketServer(endpoint)) as server, closing(raw(endpoint)) as peer:
        server.watch(poll)
        peer.send(struct.pack("<2I", 1, 2) + b"ok")
        with no_descriptor_left():
            awake = poll.wait(60_000)
            assert awake and server.ready(awake) == []
            assert not poll.wait(0)

        def heard() -> bool:
            return any(
                server.receive(fd) == (b"r1:1", [b"ok"]) for fd in server.ready(poll.wait(5))
            )

        wait_until(heard, "the message")
        with closing(raw(endpoint, b"r2:1")):
            assert poll.wait(60_000), "others wake it again"


def test_a_client_without_a_descriptor_sends_nothing(
    server: WaitingServer, client: WaitingClient
) -> None:
    """And does when it has one; a large message is not taken either."""
    with no_descriptor_left():
        assert not client.send([b"a"])
    assert client.send([b"b"]) and server.next()[1] == [b"b"]
    with no_descriptor_left():
        assert not client.send(large(1))
    assert client.send(large(2)) and server.next()[1] == large(2)


def test_a_server_keeps_no_more_connections_than_it_was_told_to(endpoint: str) -> None:
    """One more is closed; one that has sent no identity is closed for another."""
    with ExitStack() as opened:
        server = opened.enter_context(closing(WaitingServer(endpoint, most_peers=3)))
        nameless = [
            opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            for _ in range(5)
        ]
        for each in nameless:
            each.connect(sockets.path_of(endpoint))
        clients = [
            opened.enter_context(closing(WaitingClient(endpoint, f"r{k}:1"))) for k in range(4)
        ]
        for k, client in enumerate(clients[:3]):
            assert client.send([b"a"])
            assert server.next() == (f"r{k}:1".encode(), [b"a"])
        assert clients[3].send([b"a"])
        assert not server.poll(50)
        assert clients[3].poll(60_000) and clients[3].receive() is None
        assert not clients[3].connected
        for k, client in enumerate(clients[:3]):
            assert client.send([b"b"])
            assert server.next() == (f"r{k}:1".encode(), [b"b"])
        clients[0].close()
        assert not server.poll(50), "its end is noticed"
        assert clients[3].send([b"c"])
        assert server.next() == (b"r3:1", [b"c"])


def test_a_poll_is_woken_by_connections_that_are_made_and_remade(endpoint: str) -> None:
    """And by none that has ended."""
    poll = Poll()
    with closing(PacketClient(endpoint, "r1:1")) as client:
        client.watch(poll)
        assert poll.wait(0) == set()
        for _ in range(2):
            with closing(WaitingServer(endpoint)) as server:
                assert client.send([b"a"])
                server.next()
                assert not client.awake(poll.wait(0))
                server.send(b"r1:1", [b"b"])
                assert client.awake(poll.wait(60_000))
                assert client.receive() == [b"b"]
            assert client.awake(poll.wait(60_000))
            assert client.receive() is None
            assert poll.wait(0) == set()

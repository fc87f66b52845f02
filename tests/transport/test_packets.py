"""Messages between processes of one host, by Unix sockets: which arrive, and which are refused."""

from __future__ import annotations

import array
import os
import socket
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import WireError
from holdfast.tests.transport.packet_peers import WaitingClient, WaitingServer, large, raw
from holdfast.tests.waiting import wait_until
from holdfast.transport.arrays import Buffer
from holdfast.transport.limits import DEFAULT
from holdfast.transport.packets import LARGE_BYTES, frames_of


@pytest.mark.parametrize("size", [0, 1, 5900, LARGE_BYTES, LARGE_BYTES + 1, 3_000_000])
def test_a_message_arrives_whole_either_way(
    server: WaitingServer, client: WaitingClient, size: int
) -> None:
    """Whatever its size; several in their order."""
    sent: list[list[Buffer]] = [[b"header", b"", os.urandom(size)], [b"a", memoryview(b"b")]]
    for frames in sent:
        assert client.send(frames)
    assert [server.next() for _ in sent] == [(b"r1:1", frames) for frames in sent]
    for frames in sent:
        assert server.send(b"r1:1", frames)
    assert [client.next() for _ in sent] == sent
    assert client.receive() is None


def test_a_queue_that_is_full_takes_nothing(server: WaitingServer, client: WaitingClient) -> None:
    """Nor half a message: what was taken arrives, and then there is room again."""
    taken = 0
    while client.send([str(taken).encode(), bytes(5000)]):
        taken += 1
    assert taken > 4
    for number in range(taken):
        assert server.next()[1][0] == str(number).encode()
    assert client.send([b"more"])
    assert server.next()[1] == [b"more"]


def test_a_packet_has_the_bytes_that_the_reference_says(
    server: WaitingServer, endpoint: str
) -> None:
    """Both ways, as a peer in another language reads and writes them."""
    small = bytes.fromhex("02000000 02000000 00000000") + b"ok"
    whole = b"".join(bytes(frame) for frame in large(7))
    head = struct.pack("<3I", 2, 1, len(whole) - 1)
    with closing(raw(endpoint)) as peer:
        peer.send(small)
        assert server.next() == (b"r1:1", [b"ok", b""])
        assert server.send(b"r1:1", [b"ok", b""]) and peer.recv(1 << 16) == small
        for number in (1, 2):
            assert server.send(b"r1:1", large(7))
            packet, (fd,), _, _ = socket.recv_fds(peer, 1 << 16, 8)
            with os.fdopen(fd, "rb") as file:
                assert packet == head + struct.pack("<Q", number)
                assert file.read() == struct.pack("<Q", number) + whole
        fd = os.memfd_create("test")
        with os.fdopen(fd, "wb", buffering=0) as file:
            file.write(struct.pack("<Q", 1) + whole)
            socket.send_fds(peer, [head + struct.pack("<Q", 1)], [fd])
        assert server.next() == (b"r1:1", large(7))


def with_file(size: int) -> tuple[list[tuple[int, int, array.array[int]]], int]:
    fd = os.memfd_create("test")
    os.truncate(fd, size)
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))], fd


def test_what_is_no_message_is_refused_and_the_next_is_read(
    server: WaitingServer, endpoint: str
) -> None:
    """Also a file that is shorter than it was said, or a packet with too many descriptors."""
    with closing(raw(endpoint)) as peer:
        head = struct.pack("<2IQ", 1, LARGE_BYTES, 3)
        for content, size in ((b"\xff" * 9, 0), (bytes(4), 0), (head, 5), (head, 2 * LARGE_BYTES)):
            rights, fd = with_file(size) if size else ([], -1)
            peer.sendmsg([content], rights)
            if size:
                os.close(fd)
        two = array.array("i", [0, 0, 0, 0])
        peer.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, two)])
        before = len(list(Path("/proc/self/fd").iterdir()))
        faults = 0

        def refused() -> bool:
            nonlocal faults
            try:
                server.poll(1000)
            except WireError:
                faults += 1
            return faults == 5

        wait_until(refused, "five refusals")
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1, "no descriptor is kept"
        peer.send(struct.pack("<2I", 1, 2) + b"ok")
        assert server.next() == (b"r1:1", [b"ok"])


@given(st.binary(max_size=300))
def test_any_packet_is_frames_or_a_wire_error(packet: bytes) -> None:
    """Frames have the lengths that were said."""
    try:
        frames = frames_of(memoryview(packet), None, DEFAULT)
    except WireError:
        return
    assert b"".join(frames) == packet[4 * (len(frames) + 1) :]

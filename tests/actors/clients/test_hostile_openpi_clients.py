"""The port for openpi's clients against what clients must not send, and against too many."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from holdfast.actors.clients.msgpack_arrays import pack, unpack
from holdfast.actors.clients.openpi_server import MAX_MESSAGE
from holdfast.tests.actors.clients.conftest import Served, at_200_hz, observation


def array(**fields: Any) -> bytes:
    """An observation whose state is an array of these fields, as they are."""
    whole = {"__ndarray__": True, "data": bytes(4), "dtype": "<f4", "shape": [1], **fields}
    state = {key.encode(): value for key, value in whole.items()}
    packed: bytes = msgpack.packb({"state": state})
    return packed


def wrong(**parts: Any) -> bytes:
    """An observation with these parts in place of what the policy takes."""
    return pack({**observation(), **{f"observation/{key}": value for key, value in parts.items()}})


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had."""
    words = Path(f"/proc/{pid}/status").read_text().split()
    return int(words[words.index("VmHWM:") + 1]) << 10


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("an observation", "a text message of 14 characters"),
        (b"", "no MessagePack"),
        (b"\xc1", "no MessagePack"),
        (b"\x93\x01\x02\x03", "an observation is a map, list came"),
        (array(dtype="|O", data=b"\x80\x04N."), "objects would have to be unpickled"),
        (array(data="text"), "is str, expected bytes"),
        (array(shape=[1 << 28]), "has 1073741824 bytes, and 4 came"),
        (array(dtype="<i8"), "has 8 bytes, and 4 came"),
        (array(), "state have 1 values, the policy conveyor-flow takes 7"),
        (b"\xdd\xff\xff\xff\xff", "no MessagePack"),
        (b"\xc6\x40\x00\x00\x00abc", "no MessagePack"),
        (pack({"endpoint": "kill"}), "endpoint 'kill', expected infer or reset"),
        (array(dtype="<c8", data=bytes(8)), "an array of dtype '<c8', expected numbers"),
        (array(dtype="<U1"), "an array of dtype '<U1', expected numbers"),
        (wrong(state=[float("nan")] * 7), "not finite"),
        (wrong(state="seven"), "is str, expected numbers"),
        (wrong(state=b"1234567"), "is bytes, expected numbers"),
        (wrong(state=[1, 2, 3, "four", 5, 6, 7]), "is list, expected a vector of numbers"),
        (wrong(state=np.zeros((7, 1))), "is float64[7, 1], expected a vector of numbers"),
        (wrong(state=np.zeros(0)), "have 0 values, the policy conveyor-flow takes 7"),
        (wrong(wrist_image=np.zeros((96, 128, 3), np.int32)), "is int32[96, 128, 3], expected"),
        (wrong(wrist_image=np.full((9, 9, 3), 200.0)), "is floating, and not all from 0 to 1"),
        (wrong(wrist_image=np.full((9, 9, 3), np.nan)), "is floating, and not all from 0 to 1"),
        (wrong(wrist_image=np.zeros((96, 128, 4), np.uint8)), "is uint8[96, 128, 4], expected"),
        (wrong(wrist_image=np.zeros((96, 128), np.uint8)), "is uint8[96, 128], expected an image"),
        (wrong(wrist_image=np.zeros((0, 128, 3), np.uint8)), "is uint8[0, 128, 3], expected"),
        (wrong(wrist_image=np.zeros((5000, 1, 3), np.uint8)), "at most 4096 pixels a side"),
        (wrong(wrist_image=b"a JPEG, perhaps"), "is bytes, expected an image [h, w, 3]"),
        (pack({**observation(), "prompt": 7}), "prompt is int, expected text"),
    ],
)
def test_what_a_client_must_not_send_ends_its_connection_as_openpi_does(
    served: Served, message: bytes | str, why: str
) -> None:
    """A traceback as text, then code 1011; another client of the same moment is not affected."""
    with served.connect() as other, served.connect() as client:
        assert unpack(client.recv(60.0)) == unpack(other.recv(60.0))
        client.send(message)
        answer = client.recv(60.0)
        assert isinstance(answer, str)
        assert answer.startswith("Traceback (most recent call last)")
        assert why in answer
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(60.0)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        assert served.infer(other, 4.0)["actions"][0, 0] == 4.0


def test_a_message_that_declares_a_gigabyte_is_refused_by_its_first_bytes(served: Served) -> None:
    """Neither its memory is taken nor its bytes are awaited: the connection ends with 1009."""
    with served.connect() as client:
        client.recv(60.0)
        frame = b"\x82\xff" + (1 << 30).to_bytes(8, "big") + bytes(4)
        client.socket.sendall(frame)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(60.0)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with served.connect() as client:
        client.recv(60.0)
        client.send(bytes(MAX_MESSAGE + 1))
        with pytest.raises(ConnectionClosed):
            client.recv(60.0)


def test_a_message_in_pieces_is_refused_when_they_are_too_many(served: Served) -> None:
    """The pieces of one message count together, and what they took is free again."""
    row = next(r for r in served.fleet.status()["actors"] if r["name"] == "openpi")
    before = peak_bytes(row["pid"])
    for _ in range(10):
        with served.connect() as client:
            client.recv(60.0)
            piece = (1 << 20).to_bytes(8, "big") + bytes(4 + (1 << 20))
            with suppress(OSError):  # the server has closed the connection
                client.socket.sendall(b"\x02\xff" + piece)
                for _ in range(40):
                    client.socket.sendall(b"\x00\xff" + piece)
            with pytest.raises(ConnectionClosed):
                client.recv(60.0)
    with served.connect() as client:
        client.recv(60.0)
        assert served.infer(client, 5.0)["actions"][0, 0] == 5.0
    assert peak_bytes(row["pid"]) - before < 6 * MAX_MESSAGE


def test_arrays_of_a_gigabyte_that_are_only_declared_take_no_memory(served: Served) -> None:
    """Whatever dtype and shape say, the process grows by what has arrived."""
    row = next(r for r in served.fleet.status()["actors"] if r["name"] == "openpi")
    before = peak_bytes(row["pid"])
    shapes: tuple[list[int], ...] = ([1 << 27], [1 << 10] * 3, [1 << 30] * 8, [1 << 30, 0, 1 << 30])
    for shape in shapes:
        for dtype in ("<f8", "|O", "|V1073741824", "<U268435456"):
            with served.connect() as client:
                client.recv(60.0)
                client.send(array(dtype=dtype, shape=shape))
                assert "Traceback" in str(client.recv(60.0))
    assert peak_bytes(row["pid"]) - before < 32 << 20
    with served.connect() as client:
        client.recv(60.0)
        assert served.infer(client, 3.0)["actions"][0, 0] == 3.0


def test_a_page_in_a_browser_cannot_connect(served: Served) -> None:
    """Any page may open a WebSocket to this machine, and names its origin: that is refused."""
    with pytest.raises(InvalidStatus) as refused:
        served.connect(origin="http://elsewhere.example")
    assert refused.value.response.status_code == 403


def test_two_hundred_connects_a_second_do_not_disturb_a_robot(served: Served) -> None:
    """Of several bursts it streams on through one without a stalled step; all are answered."""
    metadata = set()

    def visit() -> None:
        with served.connect() as client:
            metadata.add(client.recv(60.0))

    served.undisturbed_by(visit)
    assert len(metadata) == 1
    served.without_clients()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgr",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        os.urandom(4096),
    ],
    ids=["nothing", "half-a-request", "tls", "no-websocket", "noise"],
)
def test_two_hundred_connects_a_second_that_come_to_nothing_hold_up_no_client(
    served: Served, said: bytes
) -> None:
    """They are given up in the handshake, half of them by a reset; a client is served meanwhile."""
    with served.connect() as client:
        client.recv(60.0)
        for n in at_200_hz(200):
            with socket.create_connection(("127.0.0.1", served.port), timeout=60) as caller:
                if n % 2:
                    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with suppress(OSError):
                    caller.sendall(said)
            if n % 20 == 19:
                assert served.infer(client, float(n))["actions"][0, 0] == n
    served.without_clients()

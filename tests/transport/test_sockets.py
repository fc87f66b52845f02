"""Sockets: identities, limits, reconnection and full queues."""

from __future__ import annotations

import socket as tcp
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import WireError
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.arrays import as_bytes
from holdfast.transport.keys import Role
from holdfast.transport.limits import Limits

SMALL = Limits(max_frames=4, max_blob_bytes=1000, max_message_bytes=2000)


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def test_a_dealer_is_heard_under_its_identity_and_answered(
    context: sockets.Context, tmp_path: Path
) -> None:
    """Its frames arrive behind its routing id, and a reply to that reaches it."""
    endpoint = sockets.ipc(tmp_path, "front")
    router = sockets.router(context, endpoint)
    dealer = sockets.dealer(context, endpoint, "r1:3")
    assert sockets.receive(router) is None
    wait_until(lambda: sockets.send(dealer, [b"header", memoryview(b"body"), b""]))
    received = wait_until(lambda: sockets.receive(router))
    assert received == [b"r1:3", b"header", b"body", b""]
    assert sockets.send(router, [received[0], b"reply"])
    assert wait_until(lambda: sockets.receive(dealer)) == [b"reply"]


STARVED = """
import subprocess, sys, time, zmq
from holdfast.transport import sockets

endpoint = sys.argv[1]
if sys.argv[2] == "flood":
    router = sockets.router(zmq.Context(), endpoint)
    while True:
        if not sockets.send(router, [b"r1:1", b"x" * 1000]):
            time.sleep(0.001)
dealer = sockets.dealer(zmq.Context(), endpoint, "r1:1")
peer = subprocess.Popen([sys.executable, "-c", sys.argv[3], endpoint, "flood", ""])
assert dealer.poll(60_000), "nothing arrived"
time.sleep(0.5)  # its queue fills, and it reads nothing
peer.kill()
peer.wait()
time.sleep(1.5)  # longer than any heartbeat would be apart
print("survived")
"""


def test_the_death_of_a_peer_does_not_kill_a_process_that_was_too_busy_to_read(
    tmp_path: Path,
) -> None:
    """libzmq aborts here when its own heartbeats are on; in processes of their own."""
    argv = [sys.executable, "-c", STARVED, sockets.ipc(tmp_path, "front"), "starve", STARVED]
    ended = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "survived\n"), ended.stderr


def test_nothing_is_queued_for_a_peer_that_is_not_there(
    context: sockets.Context, tmp_path: Path
) -> None:
    """A robot must not act on what was sent before the connection existed."""
    router = sockets.router(context, sockets.ipc(tmp_path, "front"))
    assert not sockets.send(router, [b"absent:1", b"message"])
    dealer = sockets.dealer(context, sockets.ipc(tmp_path, "nothing"), "r1:1")
    assert not sockets.send(dealer, [b"message"])


def test_a_peer_that_does_not_read_costs_a_bounded_queue_and_never_blocks(
    context: sockets.Context, tmp_path: Path
) -> None:
    """Sends to it fail after a bounded number, and what was queued arrives."""
    endpoint = sockets.ipc(tmp_path, "front")
    router = sockets.router(context, endpoint)
    dealer = sockets.dealer(context, endpoint, "r1:1")
    wait_until(lambda: sockets.send(dealer, [b"first"]))
    megabyte, sent, started_s = bytes(1 << 20), 0, time.monotonic()
    while sockets.send(dealer, [megabyte]):
        sent += 1
        assert sent < 100
    assert time.monotonic() - started_s < 60
    assert wait_until(lambda: sockets.receive(router)) == [b"r1:1", b"first"]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [([b"x"] * 7, "frames"), ([b"x"] * 3000, "frames"), ([bytes(900)] * 3, "message-bytes")],
)
def test_a_message_beyond_the_limits_is_dropped_and_the_next_one_read(
    context: sockets.Context, tmp_path: Path, frames: list[bytes], reason: str
) -> None:
    """It raises WireError once, without being kept."""
    endpoint = sockets.ipc(tmp_path, "front")
    router = sockets.router(context, endpoint, limits=SMALL)
    dealer = sockets.dealer(context, endpoint, "r1:1")
    wait_until(lambda: sockets.send(dealer, frames))
    wait_until(lambda: sockets.send(dealer, [b"good"]))
    with pytest.raises(WireError) as error:
        wait_until(lambda: sockets.receive(router, SMALL))
    assert error.value.reason == reason
    assert wait_until(lambda: sockets.receive(router, SMALL)) == [b"r1:1", b"good"]


def test_a_peer_that_sends_a_huge_frame_is_disconnected_and_others_stay(
    context: sockets.Context, tmp_path: Path
) -> None:
    """The socket refuses by the declared length, before it allocates."""
    endpoint = sockets.ipc(tmp_path, "front")
    router = sockets.router(context, endpoint, limits=SMALL)
    bad = sockets.dealer(context, endpoint, "bad:1")
    good = sockets.dealer(context, endpoint, "good:1")
    wait_until(lambda: sockets.send(bad, [bytes(1001)]))
    wait_until(lambda: sockets.send(good, [b"message"]))
    assert wait_until(lambda: sockets.receive(router, SMALL)) == [b"good:1", b"message"]
    wait_until(lambda: sockets.send(bad, [b"small again"]) and sockets.receive(router, SMALL))


def test_a_peer_that_comes_back_is_reached_under_its_old_identity(
    context: sockets.Context, tmp_path: Path
) -> None:
    """With handover the new connection gets the replies."""
    endpoint = sockets.ipc(tmp_path, "front")
    router = sockets.router(context, endpoint)
    first = sockets.dealer(context, endpoint, "r1:1")
    wait_until(lambda: sockets.send(first, [b"one"]))
    wait_until(lambda: sockets.receive(router))
    second = sockets.dealer(context, endpoint, "r1:1")
    wait_until(lambda: sockets.send(second, [b"two"]))
    assert wait_until(lambda: sockets.receive(router)) == [b"r1:1", b"two"]
    wait_until(lambda: sockets.send(router, [b"r1:1", b"reply"]))
    assert wait_until(lambda: sockets.receive(second)) == [b"reply"]


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\xff" * 5000])
def test_garbage_on_a_port_affects_no_other_peer(context: sockets.Context, garbage: bytes) -> None:
    """A dealer of the same port is heard as without it."""
    router = sockets.router(context, "tcp://127.0.0.1:*")
    endpoint = router.getsockopt_string(zmq.LAST_ENDPOINT)
    port = int(endpoint.rpartition(":")[2])
    with tcp.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(garbage)
        dealer = sockets.dealer(context, endpoint, "r1:1")
        wait_until(lambda: sockets.send(dealer, [b"message"]))
        assert wait_until(lambda: sockets.receive(router)) == [b"r1:1", b"message"]


def test_a_dealer_finds_a_broker_that_restarts(tmp_path: Path, context: sockets.Context) -> None:
    """It reconnects by itself, within its capped back-off."""
    endpoint = sockets.ipc(tmp_path, "front")
    router = sockets.router(context, endpoint)
    dealer = sockets.dealer(context, endpoint, "r1:1")
    wait_until(lambda: sockets.send(dealer, [b"one"]))
    wait_until(lambda: sockets.receive(router))
    router.close()
    again = zmq.Context()
    try:
        successor = until_bound(again, endpoint)
        heard = wait_until(
            lambda: sockets.receive(successor) if sockets.send(dealer, [b"two"]) else None
        )
        assert heard == [b"r1:1", b"two"]
    finally:
        again.destroy(linger=0)


def until_bound(context: sockets.Context, endpoint: str) -> sockets.Socket:
    def bind() -> sockets.Socket | None:
        try:
            return sockets.router(context, endpoint)
        except zmq.ZMQError:
            return None

    return wait_until(bind)


def test_a_stale_socket_file_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """A file that is no socket raises ValueError and stays."""
    endpoint = sockets.ipc(tmp_path, "front")
    assert not sockets.unlink_stale(endpoint)
    with tcp.socket(tcp.AF_UNIX) as left:
        left.bind(str(tmp_path / "front"))
    assert sockets.unlink_stale(endpoint)
    assert not (tmp_path / "front").exists()
    (tmp_path / "front").write_text("notes")
    with pytest.raises(ValueError, match="not a socket"):
        sockets.unlink_stale(endpoint)
    assert (tmp_path / "front").exists()
    assert not sockets.unlink_stale("tcp://127.0.0.1:5555")


def test_a_socket_path_that_the_kernel_would_cut_is_refused() -> None:
    """A path longer than sun_path raises ValueError with the remedy."""
    with pytest.raises(ValueError, match="shorter runtime directory"):
        sockets.ipc(Path("/tmp") / ("x" * 100), "front")


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (b"r1:3", ("r1", 3)),
        (b"pick/0:12", ("pick/0", 12)),
        (b"r1", ("r1", 0)),
        (b"r1:3:f0", ("r1", 3)),
    ],
)
def test_an_identity_holds_name_and_incarnation(identity: bytes, expected: tuple[str, int]) -> None:
    """A missing incarnation is 0, and a secret behind it is ignored."""
    assert sockets.peer(identity) == expected


@given(st.binary(max_size=255))
def test_any_identity_is_a_name_or_a_wire_error(identity: bytes) -> None:
    """Random bytes raise nothing but `identity`."""
    try:
        name, incarnation = sockets.peer(identity)
    except WireError as error:
        assert error.reason == "identity"
    else:
        assert name and incarnation >= 0


@pytest.mark.parametrize("user", ["robot:r2", "replica:r1", "robot:r1:3", "r1"])
def test_a_key_is_valid_for_its_own_name_and_role_only(user: str) -> None:
    """Another name or role of the key raises `identity`."""
    assert sockets.peer(b"r1:3", "robot:r1", Role.ROBOT) == ("r1", 3)
    with pytest.raises(WireError, match="was used by robot:r1") as error:
        sockets.peer(b"r1:3", user, Role.ROBOT)
    assert error.value.reason == "identity"


def test_a_robots_key_is_also_that_of_the_clients_below_its_name() -> None:
    """One actor speaks for many under one key; a replica's key is for one name."""
    assert sockets.peer(b"openpi/7:3", "robot:openpi", Role.ROBOT) == ("openpi/7", 3)
    for user, role in (
        ("robot:open", Role.ROBOT),
        ("robot:openpi/6", Role.ROBOT),
        ("replica:openpi", Role.REPLICA),
    ):
        with pytest.raises(WireError, match="was used by"):
            sockets.peer(b"openpi/7:3", user, role)


class Sent:
    """Stands for a socket that only keeps what it is given."""

    def __init__(self) -> None:
        self.parts: list[object] = []

    def send(self, part: object, _flags: int, _copy: bool) -> None:
        self.parts.append(part)


@given(st.sampled_from([1, 3, 200, 300]), st.integers(50, 60), st.integers(0, 3))
def test_pixels_that_lie_in_a_message_are_sent_without_a_copy(
    height: int, width: int, cut: int
) -> None:
    """Large ones; a view of such an image is sent as every other buffer."""
    pixels = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(-1, width, 3)
    found, sent = sockets.packed(pixels), Sent()
    cut = min(cut, height - 1)
    whole, part = as_bytes(found), as_bytes(found[cut:])
    assert bytes(whole) == pixels.tobytes() and bytes(part) == pixels[cut:].tobytes()
    sockets.send_now(cast("sockets.Socket", sent), [b"header", whole, part])
    shared = [isinstance(each, zmq.Frame) for each in sent.parts]
    assert shared == [False, pixels.nbytes >= sockets.SHARED_BYTES, False]


def test_a_packed_image_stays_as_it_was_and_can_be_sent_again(
    context: sockets.Context, tmp_path: Path
) -> None:
    """What it was copied from may be overwritten at once."""
    endpoint = sockets.ipc(tmp_path, "front")
    router = sockets.router(context, endpoint)
    dealer = sockets.dealer(context, endpoint, "r1:3")
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    before, blob = image.copy(), as_bytes(sockets.packed(image))
    image[:] = 0
    for _ in range(2):
        wait_until(lambda: sockets.send(dealer, [b"header", blob]))
        received = wait_until(lambda: sockets.receive(router))
        assert bytes(received[2]) == before.tobytes()

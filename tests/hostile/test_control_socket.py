"""The supervisor's control socket against hostile clients: no request ends or delays the fleet, and
well-behaved clients are answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import time
from collections.abc import Iterator

import psutil
import pytest

from holdfast.actors.supervision.control_socket import MAX_CLIENTS, MAX_REQUEST
from holdfast.tests.misbehaving.harness import PATIENT, Supervised, actor
from holdfast.tests.waiting import wait_until

PROMPT_S = 60.0
GROWTH_MB = 60


@pytest.fixture(scope="module")
def supervised() -> Iterator[Supervised]:
    with Supervised(actor("a", rules=PATIENT)) as fleet:
        fleet.reach("a", "READY")
        yield fleet


@pytest.fixture
def fleet(supervised: Supervised) -> Iterator[Supervised]:
    """One actor that is READY; after the test it must be the same process, and have gone on."""
    before = supervised.row("a")
    memory = psutil.Process(supervised.process.pid).memory_info().rss
    yield supervised
    turns = supervised.turns("a")
    wait_until(lambda: supervised.turns("a") > turns, "turns of the actor")
    after = supervised.row("a")
    assert (after["pid"], after["incarnation"]) == (before["pid"], before["incarnation"])
    grown = psutil.Process(supervised.process.pid).memory_info().rss - memory
    assert grown < GROWTH_MB * 1e6, f"the supervisor grew by {grown / 1e6:.0f} MB"


@contextlib.contextmanager
def connected(fleet: Supervised) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(fleet.socket))
        yield sock


def answers_promptly(fleet: Supervised) -> None:
    began_s = time.monotonic()
    assert fleet.status()["fleet"]
    took_s = time.monotonic() - began_s
    assert took_s < PROMPT_S, f"a well-behaved client waited {took_s:.1f} s"


def line(**request: object) -> bytes:
    return json.dumps(request).encode()


DEEP = b"[" * 30_000 + b"]" * 30_000
HOSTILE = {
    "deep JSON": DEEP,
    "deep JSON without an end": b"[" * 60_000,
    "deep args": b'{"do":"tell","names":["a"],"verb":"x","args":{"a":' + DEEP + b"}}",
    "args as deep as a decoder may recurse": b'{"do":"tell","names":["a"],"verb":"x","args":{"a":'
    + b"[" * 400
    + b"]" * 400
    + b"}}",
    "deep in a key that is not read": b'{"do":"status","junk":' + DEEP + b"}",
    "a number of 60 000 digits": b"1" * 60_000,
    "a number that no message carries": line(do="tell", names=["a"], verb="x", args={"n": 10**40}),
    "half a character": b'{"do":"tell","names":["a"],"verb":"\\ud800","args":{"\\udfff":1}}',
    "half a character in a verb": b'{"do":"\\ud800"}',
    "half a character in a name": b'{"do":"stop","names":["\\ud800"]}',
    "args that grow when they are packed": b'{"do":"tell","names":["a"],"verb":"x","args":{"a":['
    + b",".join([b"0.5"] * 15_000)
    + b"]}}",
    "a signal of 5 000 digits": line(do="kill", names=["a"], signal="9" * 5000),
    "a signal that looks like a digit": line(do="kill", names=["a"], signal="\u00b2"),
    "a signal without a name": line(do="kill", names=["a"], signal=55),
    "signal 0": line(do="kill", names=["a"], signal=0),
    "a negative signal": line(do="kill", names=["a"], signal=-9),
    "a signal of many bits": line(do="kill", names=["a"], signal=2**70),
    "a name of 60 000 letters": line(do="stop", names=["n" * 60_000]),
    "10 000 names": line(do="stop", names=["x"] * 10_000),
    "a segment by path": line(do="attach", segment="../../etc/passwd"),
    "zeros": bytes(60_000),
    "not UTF-8": b'{"do":"status\xff"}',
    "keys without an end": b'{"do":"status",' * 4_000,
}


@pytest.mark.parametrize("request_line", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_request_is_answered_with_a_reason(
    fleet: Supervised, request_line: bytes
) -> None:
    """The connection stays open: only that line is refused."""
    with connected(fleet) as sock:
        lines = sock.makefile("rb")
        sock.sendall(request_line + b"\n")
        answer = json.loads(lines.readline())
        assert answer["ok"] or len(answer["error"]) > 10, answer
        assert "please report it" not in str(answer), answer
        sock.sendall(line(do="places") + b"\n")
        assert json.loads(lines.readline())["ok"]
    answers_promptly(fleet)


def test_random_bytes_and_mutated_requests_have_no_effect(fleet: Supervised) -> None:
    """The supervisor answers a valid request as before."""
    chance = random.Random(11)
    good = [
        line(do="status"),
        line(do="attach", segment="a/board"),
        line(do="tell", names=["a"], verb="deaf", args={"x": [1, {"y": None}]}),
        line(do="graph"),
    ]
    for _ in range(60):
        with connected(fleet) as sock, contextlib.suppress(OSError):
            for _ in range(20):
                mutated = bytearray(chance.choice(good))
                for _ in range(chance.randrange(1, 6)):
                    mutated[chance.randrange(len(mutated))] = chance.randrange(256)
                sock.sendall(bytes(mutated) + b"\n")
            sock.sendall(chance.randbytes(chance.randrange(3000)))
    answers_promptly(fleet)


def test_thousands_of_connections_keep_no_client_out(fleet: Supervised) -> None:
    """Beyond MAX_CLIENTS the one that was idle for longest is closed; descriptors are bounded."""
    process = psutil.Process(fleet.process.pid)
    descriptors = process.num_fds()
    idle: list[socket.socket] = []
    try:
        for n in range(2000):
            sock = socket.socket(socket.AF_UNIX)
            idle.append(sock)
            sock.connect(str(fleet.socket))
            if n % 500 == 0:
                answers_promptly(fleet)
        answers_promptly(fleet)
        assert process.num_fds() <= descriptors + MAX_CLIENTS + 1
        idle[0].settimeout(60)
        assert idle[0].recv(1) == b"", "the first one, which sent nothing, is closed"
    finally:
        for sock in idle:
            sock.close()
    wait_until(lambda: process.num_fds() <= descriptors + 2, "descriptors of clients that left")


def test_a_client_that_asks_and_never_reads_is_cut_off(fleet: Supervised) -> None:
    """Its answers are neither kept nor made before it reads."""
    with connected(fleet) as sock:
        sock.settimeout(60)
        with pytest.raises(ConnectionError):
            for _ in range(2 * MAX_REQUEST // 10_000):
                sock.sendall(b"".join([line(do="status") + b"\n"] * 600))  # more than 10 kB
                answers_promptly(fleet)


def test_clients_that_never_read_delay_no_other(fleet: Supervised) -> None:
    """A valid request is answered while they are connected."""
    asking = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CLIENTS - 10)]
    try:
        for sock in asking:
            sock.connect(str(fleet.socket))
            sock.setblocking(False)
        for _ in range(10):
            for sock in asking:
                with contextlib.suppress(OSError):
                    sock.send((line(do="graph") + b"\n") * 30)
            answers_promptly(fleet)
    finally:
        for sock in asking:
            sock.close()


def test_a_burst_of_requests_is_answered_in_full_and_delays_no_restart(fleet: Supervised) -> None:
    """2000 at once from one client: each is answered, and others in between."""
    many = 2000
    with connected(fleet) as sock:
        sock.sendall((line(do="places") + b"\n") * many)
        answers_promptly(fleet)
        sock.settimeout(60)
        lines = sock.makefile("rb")
        assert sum(bool(json.loads(lines.readline())["ok"]) for _ in range(many)) == many


def test_a_request_that_arrives_byte_by_byte_is_answered_and_delays_no_other(
    fleet: Supervised,
) -> None:
    """Other clients are answered meanwhile."""
    with connected(fleet) as slow:
        request = line(do="places") + b"\n"
        for at in range(len(request)):
            slow.sendall(request[at : at + 1])
            if at % 8 == 0:
                answers_promptly(fleet)
        assert json.loads(slow.makefile("rb").readline())["ok"]


def test_a_line_without_an_end_is_cut_off_at_its_limit(fleet: Supervised) -> None:
    """The supervisor closes the connection instead of keeping the bytes."""
    with connected(fleet) as sock, pytest.raises(ConnectionError):
        for _ in range(100):
            sock.sendall(os.urandom(MAX_REQUEST).replace(b"\n", b"x"))
            answers_promptly(fleet)

"""The HTTP server against clients that are wrong, slow, hostile or many; and who may ask what."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.actors.gateway import access as _access
from holdfast.actors.gateway import server as _server
from holdfast.actors.gateway.access import Access
from holdfast.actors.gateway.server import HttpRequest
from holdfast.actors.gateway.socket_owner import End, owner
from holdfast.actors.supervision.supervised import ActorState

TOKEN = "a-token"
HOST = {"host": "localhost:8807"}


def talk(port: int, data: bytes) -> bytes:
    """Send, say that this was all, and read what comes until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        received = b""
        # It may have hung up before we were done: ENOTCONN is no ConnectionError.
        with contextlib.suppress(OSError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                received += piece
        return received


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x00\x01\x02garbage\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"431"),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99_999,
            b"413",
        ),
    ],
)
def test_what_is_not_http_or_too_big_is_refused_and_dropped(
    gateway: Any, data: bytes, status: bytes
) -> None:
    answer = talk(gateway.port, data)
    assert answer.split(b" ")[1] == status
    assert gateway.get("/healthz")[0] == 200


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400), st.binary(max_size=40))
def test_no_bytes_bring_it_down(gateway: Any, head: bytes, path: bytes) -> None:
    talk(gateway.port, head)
    talk(gateway.port, b"GET /" + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert gateway.get("/healthz")[0] == 200


def test_a_connection_carries_request_after_request(gateway: Any) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert talk(gateway.port, one * 3).count(b"HTTP/1.1 200") == 3


def test_head_is_answered_without_a_body(gateway: Any) -> None:
    """Even so that the next request of the connection finds its own answer."""
    requests = [
        f"{method} /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n" for method in ("HEAD", "GET")
    ]
    answer = talk(gateway.port, "".join(requests).encode())
    head, _, rest = answer.partition(b"\r\n\r\n")
    again, _, body = rest.partition(b"\r\n\r\n")
    assert head == again
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert len(body) == length > 1000


def test_a_slow_request_is_given_up(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "RECEIVE_S", 0.2)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as slow:
        slow.sendall(b"GET / HT")
        assert slow.recv(1) == b"", "it hung up"


def test_one_client_too_many_is_turned_away_and_a_place_that_is_left_is_free(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, wait: Any
) -> None:
    monkeypatch.setattr(_server, "MAX_CLIENTS", 3)
    holding = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(3)]
    # Accepted in order: the last of them is in before anyone after it.
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert talk(gateway.port, request).startswith(b"HTTP/1.1 503")
    holding.pop().close()
    wait(lambda: talk(gateway.port, request).startswith(b"HTTP/1.1 200"), "a free place")
    for client in holding:
        client.close()


def test_every_answer_forbids_other_sites_to_use_it(gateway: Any) -> None:
    for path in ("/", "/app.js", "/api/status", "/api/camera/r1/none.jpg", "/nothing"):
        headers = gateway.get(path)[1]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_the_page_needs_nothing_from_elsewhere(gateway: Any) -> None:
    """It works without internet: no address but its own in any file of it."""
    for path in ("/", "/app.js", "/style.css", "/stream.js", "/robot.js", "/timeline.js"):
        status, _, body = gateway.get(path)
        assert status == 200
        assert b"://" not in body


def refused(method: str, path: str, peer: str = "127.0.0.1", **headers: str) -> int | None:
    named = {name.replace("_", "-"): value for name, value in {**HOST, **headers}.items()}
    refusal = Access(TOKEN).refusal(HttpRequest(method, path, named, peer))
    return None if refusal is None else refusal.status


@pytest.mark.parametrize("host", ["localhost", "localhost:8807", "127.0.0.1:1", "[::1]:8807"])
def test_a_browser_on_this_machine_gets_the_page_and_with_the_token_the_fleet(host: str) -> None:
    bearer = f"Bearer {TOKEN}"
    assert refused("GET", "/", host=host) is None
    assert refused("GET", "/api/status", "::1", host=host, authorization=bearer) is None


@pytest.mark.parametrize("path", ["/api/status", "/api/events", "/api/camera/r1/overhead.jpg"])
def test_what_the_fleet_does_is_for_whoever_has_its_token(path: str) -> None:
    """The runtime directory is this user's alone: another local user must not see the pictures."""
    assert refused("GET", path) == 401
    assert refused("GET", path, authorization="Bearer another") == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8807", "localhost.evil.example", "", "127.0.0.1.nip.io"]
)
def test_a_page_whose_domain_was_pointed_at_us_may_not(host: str) -> None:
    assert refused("GET", "/api/status", host=host) == 421
    assert refused("POST", "/x", host=host, authorization=f"Bearer {TOKEN}") == 421


@pytest.mark.parametrize("peer", ["192.168.1.7", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"])
def test_other_machines_get_health_and_metrics_and_nothing_else(peer: str) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert refused("GET", path, peer, host="robot-host:8807") is None
        assert refused("POST", path, peer, authorization=f"Bearer {TOKEN}") == 403
    for path in ("/", "/api/status", "/api/camera/r1/overhead.jpg", "/api/events"):
        assert refused("GET", path, peer) == 403


def test_a_loopback_peer_in_ipv6_clothes_is_one() -> None:
    assert refused("GET", "/", "::ffff:127.0.0.1") is None


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer a-toke", "Basic a-token", "Bearer Ä", TOKEN]
)
def test_a_command_needs_the_whole_token(authorization: str) -> None:
    assert refused("POST", "/api/robots/r1/pause", authorization=authorization) == 401
    assert refused("POST", "/api/robots/r1/pause") == 401


def test_a_command_with_the_token_passes_unless_another_sites_page_sends_it() -> None:
    bearer = f"Bearer {TOKEN}"
    assert refused("POST", "/x", authorization=bearer) is None
    assert refused("POST", "/x", authorization=bearer, origin="http://localhost:8807") is None
    for origin in ("https://evil.example", "null", "http://localhost:1234"):
        assert refused("POST", "/x", authorization=bearer, origin=origin) == 403


def test_the_owner_of_a_connection_is_read_from_the_kernel() -> None:
    """Of an established one, over IPv4, IPv6, and IPv4 in IPv6 clothes; of no other."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.create_server((address, 0), family=family) as listener:
            client = socket.create_connection(listener.getsockname()[:2])
            server, peer = listener.accept()
            with server:
                theirs, ours = End(*peer[:2]), End(*server.getsockname()[:2])
                assert owner(theirs, ours) == os.getuid()
                if family == socket.AF_INET:
                    assert owner(End(f"::ffff:{theirs.host}", theirs.port), ours) == os.getuid()
                assert owner(theirs, End(ours.host, ours.port + 1)) is None
                client.close()
                assert owner(theirs, ours) is None, "a socket that nobody holds is nobody's"


@pytest.mark.parametrize(
    ("metrics", "uid", "peer", "answer"),
    [
        ("owner", os.getuid(), "127.0.0.1", None),
        ("owner", 0, "127.0.0.1", None),
        ("owner", 4242, "127.0.0.1", 401),
        ("owner", None, "::1", 401),
        ("anyone", 4242, "127.0.0.1", None),
        ("owner", None, "10.0.0.1", None),
    ],
)
def test_metrics_are_for_this_user_unless_the_file_says_anyone(
    monkeypatch: pytest.MonkeyPatch,
    metrics: Any,
    uid: int | None,
    peer: str,
    answer: int | None,
) -> None:
    """On this machine; that other machines may is what `gateway.host` decides."""
    monkeypatch.setattr(_access, "owner", lambda theirs, ours: uid)
    access = Access(TOKEN, metrics)
    ends = End(peer, 1), End("127.0.0.1", 2)
    refusal = access.refusal(HttpRequest("GET", "/metrics", HOST, peer, ends))
    assert (refusal and refusal.status) == answer
    with_token = {**HOST, "authorization": f"Bearer {TOKEN}"}
    assert access.refusal(HttpRequest("GET", "/metrics", with_token, peer, ends)) is None


def test_health_is_for_everybody_and_its_reasons_are_not(
    gateway: Any, supervisor: Any, monkeypatch: pytest.MonkeyPatch, wait: Any
) -> None:
    supervisor.put("broker", ActorState.FAILED, reason="no such key")
    for path in ("/healthz", "/readyz"):
        wait(lambda path=path: gateway.request("GET", path)[0] == 503, path)
        assert b"broker is FAILED: no such key" in gateway.request("GET", path)[2]
        with monkeypatch.context() as patch:
            patch.setattr(_access, "owner", lambda theirs, ours: 4242)
            status, _, body = gateway.request("GET", path)
            assert status == 503 and b"broker" not in body
            assert b"broker" in gateway.get(path)[2]

"""The HTTP server against clients that are wrong, slow, hostile or many; and which may ask what."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.actors.gateway import access as _access
from holdfast.actors.gateway import server as _server
from holdfast.actors.gateway.access import Access
from holdfast.actors.gateway.page_files import pages
from holdfast.actors.gateway.server import HttpRequest
from holdfast.actors.gateway.socket_owner import End, owner
from holdfast.actors.supervision.supervised import ActorState
from holdfast.tests.actors.gateway.running_gateway import Gateway
from holdfast.tests.actors.gateway.scripted_supervisor import ScriptedSupervisor
from holdfast.tests.waiting import wait_until

TOKEN = "a-token"
HOST = {"host": "localhost:8807"}


def talk(port: int, data: bytes) -> bytes:
    """Send `data` and no more; what comes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        received = b""
        # The server may close before all is sent: ENOTCONN is no ConnectionError.
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
def test_a_request_that_is_no_http_or_too_big_is_refused(
    gateway: Gateway, data: bytes, status: bytes
) -> None:
    """The status says why, and the server goes on."""
    answer = talk(gateway.port, data)
    assert answer.split(b" ")[1] == status
    assert gateway.get("/healthz")[0] == 200


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400), st.binary(max_size=40))
def test_no_bytes_bring_the_server_down(gateway: Gateway, head: bytes, path: bytes) -> None:
    """After any request, /healthz is answered."""
    talk(gateway.port, head)
    talk(gateway.port, b"GET /" + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert gateway.get("/healthz")[0] == 200


def test_a_connection_carries_request_after_request(gateway: Gateway) -> None:
    """Requests that are sent together are answered in order."""
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert talk(gateway.port, one * 3).count(b"HTTP/1.1 200") == 3


def test_head_is_answered_without_a_body(gateway: Gateway) -> None:
    """The next request of the connection gets its own answer."""
    requests = [
        f"{method} /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n" for method in ("HEAD", "GET")
    ]
    answer = talk(gateway.port, "".join(requests).encode())
    head, _, rest = answer.partition(b"\r\n\r\n")
    again, _, body = rest.partition(b"\r\n\r\n")
    assert head == again
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert len(body) == length > 1000


def test_a_slow_request_is_given_up(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is not whole within RECEIVE_S ends the connection."""
    monkeypatch.setattr(_server, "RECEIVE_S", 0.2)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as slow:
        slow.sendall(b"GET / HT")
        assert slow.recv(1) == b"", "the connection is closed"


def test_one_client_too_many_is_refused_until_another_leaves(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is 503 while MAX_CLIENTS are connected."""
    wait_until(lambda: not gateway.actor._server._clients, "the end of earlier connections")
    monkeypatch.setattr(_server, "MAX_CLIENTS", 3)
    holding = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(3)]
    # Accepted in order: the last of them is in before anyone after it.
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert talk(gateway.port, request).startswith(b"HTTP/1.1 503")
    holding.pop().close()
    wait_until(lambda: talk(gateway.port, request).startswith(b"HTTP/1.1 200"), "a free place")
    for client in holding:
        client.close()


def test_every_answer_forbids_other_sites_to_use_it(gateway: Gateway) -> None:
    """The security headers are on every response, errors too."""
    for path in ("/", "/app.js", "/api/status", "/api/camera/r1/none.jpg", "/nothing"):
        headers = gateway.get(path)[1]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_the_page_needs_no_other_host(gateway: Gateway) -> None:
    """It works without internet: no file of it holds an address."""
    for path in pages():
        status, _, body = gateway.get(path)
        assert status == 200
        assert b"://" not in body.replace(b'xmlns="http://www.w3.org/2000/svg"', b"")


def refused(method: str, path: str, peer: str = "127.0.0.1", **headers: str) -> int | None:
    named = {name.replace("_", "-"): value for name, value in {**HOST, **headers}.items()}
    refusal = Access(TOKEN).refusal(HttpRequest(method, path, named, peer))
    return None if refusal is None else refusal.status


@pytest.mark.parametrize("host", ["localhost", "localhost:8807", "127.0.0.1:1", "[::1]:8807"])
def test_a_browser_on_this_machine_gets_the_page_and_with_the_token_the_fleet(host: str) -> None:
    """Each loopback name is accepted as the host."""
    bearer = f"Bearer {TOKEN}"
    assert refused("GET", "/", host=host) is None
    assert refused("GET", "/api/status", "::1", host=host, authorization=bearer) is None


@pytest.mark.parametrize("path", ["/api/status", "/api/events", "/api/camera/r1/overhead.jpg"])
def test_the_state_of_the_fleet_needs_its_token(path: str) -> None:
    """Another user of this machine gets 401: the runtime directory has the token."""
    assert refused("GET", path) == 401
    assert refused("GET", path, authorization="Bearer another") == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8807", "localhost.evil.example", "", "127.0.0.1.nip.io"]
)
def test_a_page_whose_domain_resolves_to_this_machine_is_refused(host: str) -> None:
    """DNS rebinding: the host of the request has to be a loopback name."""
    assert refused("GET", "/api/status", host=host) == 421
    assert refused("POST", "/x", host=host, authorization=f"Bearer {TOKEN}") == 421


@pytest.mark.parametrize("peer", ["192.168.1.7", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"])
def test_other_machines_get_health_and_metrics_and_nothing_else(peer: str) -> None:
    """All other paths are refused, with the token too."""
    for path in ("/healthz", "/readyz", "/metrics"):
        assert refused("GET", path, peer, host="robot-host:8807") is None
        assert refused("POST", path, peer, authorization=f"Bearer {TOKEN}") == 403
    for path in ("/", "/api/status", "/api/camera/r1/overhead.jpg", "/api/events"):
        assert refused("GET", path, peer) == 403


def test_an_ipv4_mapped_loopback_peer_is_on_this_machine() -> None:
    """::ffff:127.0.0.1 counts as loopback."""
    assert refused("GET", "/", "::ffff:127.0.0.1") is None


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer a-toke", "Basic a-token", "Bearer Ä", TOKEN]
)
def test_a_command_needs_the_whole_token(authorization: str) -> None:
    """Any other authorization is 401."""
    assert refused("POST", "/api/robots/r1/pause", authorization=authorization) == 401
    assert refused("POST", "/api/robots/r1/pause") == 401


def test_a_command_with_the_token_passes_unless_another_sites_page_sends_it() -> None:
    """The origin, where there is one, has to be the page's own."""
    bearer = f"Bearer {TOKEN}"
    assert refused("POST", "/x", authorization=bearer) is None
    assert refused("POST", "/x", authorization=bearer, origin="http://localhost:8807") is None
    for origin in ("https://evil.example", "null", "http://localhost:1234"):
        assert refused("POST", "/x", authorization=bearer, origin=origin) == 403


def test_the_owner_of_a_connection_is_read_from_the_kernel() -> None:
    """Of an established connection over IPv4, IPv6 or IPv4-mapped IPv6; of no other."""
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
                assert owner(theirs, ours) is None, "a closed socket has no owner"


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
def test_metrics_on_this_machine_are_for_this_user_unless_configured(
    monkeypatch: pytest.MonkeyPatch,
    metrics: Literal["owner", "anyone"],
    uid: int | None,
    peer: str,
    answer: int | None,
) -> None:
    """Other machines may read them: `gateway.host` decides whether they can connect."""
    monkeypatch.setattr(_access, "owner", lambda theirs, ours: uid)
    access = Access(TOKEN, metrics)
    ends = End(peer, 1), End("127.0.0.1", 2)
    refusal = access.refusal(HttpRequest("GET", "/metrics", HOST, peer, ends))
    assert (refusal and refusal.status) == answer
    with_token = {**HOST, "authorization": f"Bearer {TOKEN}"}
    assert access.refusal(HttpRequest("GET", "/metrics", with_token, peer, ends)) is None


def test_health_is_public_and_its_reasons_are_for_trusted_clients(
    gateway: Gateway, supervisor: ScriptedSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user sees the status without the names."""
    supervisor.put("broker", ActorState.FAILED, reason="no such key")
    for path in ("/healthz", "/readyz"):
        wait_until(partial(answers, gateway, path, 503), path)
        assert b"broker is FAILED: no such key" in gateway.request("GET", path)[2]
        with monkeypatch.context() as patch:
            patch.setattr(_access, "owner", lambda theirs, ours: 4242)
            status, _, body = gateway.request("GET", path)
            assert status == 503 and b"broker" not in body
            assert b"broker" in gateway.get(path)[2]


def answers(gateway: Gateway, path: str, status: int) -> bool:
    return gateway.request("GET", path)[0] == status

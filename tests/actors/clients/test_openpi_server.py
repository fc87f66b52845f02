"""The port for openpi's clients against those that are slow, many, or gone."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from holdfast.actors.clients.msgpack_arrays import pack, unpack
from holdfast.actors.clients.openpi_server import MAX_CLIENTS
from holdfast.actors.driver import emergency_stop
from holdfast.actors.runtime import robots_file
from holdfast.tests.actors.clients.conftest import Served, observation, serve
from holdfast.tests.waiting import wait_until

KEY = {"additional_headers": {"Authorization": "Api-Key s3cret"}}


def test_health_is_answered_without_a_websocket_and_without_the_key(slow: Served) -> None:
    """GET /healthz is OK, as of openpi's own server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{slow.port}/healthz", timeout=60) as answer:
        assert (answer.status, answer.read()) == (200, b"OK\n")


def test_connections_and_refusals_are_in_the_log_without_a_key(slow: Served) -> None:
    """Who came, and whom the port refused, and why."""
    wrong = {"additional_headers": {"Authorization": "Api-Key tr1ed"}}
    for headers, why in (({}, "no API key"), (wrong, "another API key")):

        def refused(headers: dict[str, Any] = headers, why: str = why) -> bool:
            with pytest.raises(InvalidStatus), slow.connect(**headers):
                pass
            return f"a client from 127.0.0.1 is refused: it sends {why}" in slow.log()

        wait_until(refused, f"the refusal of {why}", 60.0, 0.3)
    with slow.connect(**KEY) as client:
        client.recv(60.0)
        wait_until(lambda: "openpi/1: a client from 127.0.0.1" in slow.log(), "its line", 60.0)
    wait_until(lambda: "openpi/1: the client is gone" in slow.log(), "the end's line", 60.0)
    assert "tr1ed" not in slow.log() and "s3cret" not in slow.log()


def test_a_client_gets_an_error_while_a_stop_is_in_force_and_chunks_after_the_release(
    served: Served,
) -> None:
    """A traceback that says who stopped, and why, and what lifts it."""
    try:
        with served.connect() as client:
            client.recv(60.0)
            assert served.infer(client, 1.0)["actions"].max() == 1.0
            served.fleet.emergency_stop(why="smoke")
            client.send(pack(observation()))
            said = client.recv(60.0)
            assert isinstance(said, str) and "smoke" in said and "actorctl estop --release" in said
    finally:
        emergency_stop.release(robots_file.find(served.fleet.name))
    with served.connect() as client:
        client.recv(60.0)
        assert served.infer(client, 2.0)["actions"].max() == 2.0
    served.fleet.wait(300.0)


def test_many_clients_each_get_their_own_chunks(served: Served) -> None:
    """Sixteen at once, each with a state of its own, which its actions repeat."""
    amiss: list[Any] = []

    def ask(value: float) -> None:
        with served.connect() as client:
            client.recv(60.0)
            for step in range(5):
                sent = value + step / 8
                got = served.infer(client, sent)["actions"]
                if got.min() != sent or got.max() != sent:
                    amiss.append((sent, got))

    threads = [threading.Thread(target=ask, args=(float(k),)) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert amiss == []
    served.without_clients()


def test_more_clients_than_there_are_places_are_turned_away(served: Served) -> None:
    """With 503, before a WebSocket is made; a place that becomes free is given again."""
    served.without_clients()  # of another test
    with ExitStack() as clients:
        for _ in range(MAX_CLIENTS - 1):
            clients.enter_context(served.connect()).recv(60.0)
        with served.connect() as last:
            last.recv(60.0)
            with pytest.raises(InvalidStatus) as refused, served.connect():
                pass
            assert refused.value.response.status_code == 503

        def admitted() -> float | None:
            try:
                with served.connect() as client:
                    client.recv(60.0)
                    return float(served.infer(client, 2.0)["actions"][0, 0])
            except InvalidStatus:
                return None

        assert wait_until(admitted, "a place to be free") == 2.0
    served.without_clients()


def test_a_client_that_reads_nothing_holds_up_no_other(served: Served) -> None:
    """It asks and asks, its answers fill its own buffers, and others get theirs."""
    # Its closing handshake is not answered either.
    with served.connect(close_timeout=0.2) as stuck, served.connect() as client:
        client.recv(60.0)
        stuck.socket.settimeout(0.5)
        # By the bare socket; the library's thread stops reading after a few unread messages.
        body = pack(observation(9.0))
        frame = b"\x82\xff" + len(body).to_bytes(8, "big") + bytes(4) + body
        for _ in range(40):
            try:
                stuck.socket.sendall(frame)
            except OSError:
                break
        for step in range(5):
            assert served.infer(client, float(step))["actions"][0, 0] == step


def test_a_client_that_is_gone_in_mid_inference_frees_its_session(slow: Served) -> None:
    """The port counts that it had no chunk yet, and the only place of the service is free."""

    def ask_and_leave() -> None:
        with slow.connect(**KEY) as client:
            client.recv(60.0)
            client.send(pack(observation()))
            wait_until(slow.sessions, "the session to begin", 60, 0.05)
            # As a process that was killed: no closing handshake.
            client.socket.shutdown(socket.SHUT_RDWR)

    slow.leave_in_inference(ask_and_leave)
    with slow.connect(**KEY) as client:
        client.recv(60.0)
        assert slow.infer(client, 6.0)["actions"][0, 0] == 6.0
    slow.without_clients()


@pytest.mark.slow  # it waits for the time after which a request is given up
def test_a_service_without_room_is_an_error_that_says_so(slow: Served) -> None:
    """The second client of a service with one place gets the refusal's words, in time."""
    with slow.connect(**KEY) as first, slow.connect(**KEY) as second:
        first.recv(60.0)
        second.recv(60.0)
        slow.infer(first)
        second.send(pack(observation()))
        answer = second.recv(60.0)
        assert isinstance(answer, str)
        assert "gave no chunk within 10 s" in answer
        assert "1 of 1" in answer or "no place" in answer or "capacity" in answer
    slow.without_clients()


def test_broker_and_replica_may_be_killed_between_two_requests(tmp_path: Path) -> None:
    """A client notices a longer answer and nothing else, for as long as the model is the same."""
    pick = {"policy": "constant", "checkpoint": "conveyor-flow"}
    values = {"name": "opk", "services": {"pick": pick}}
    with contextmanager(serve)(tmp_path, values) as served:

        def ask(kill: Callable[[], None]) -> bool:
            with served.connect() as client:
                client.recv(60.0)
                assert served.infer(client, 1.0)["actions"][0, 0] == 1.0
                kill()
                client.send(pack(observation(1.5)))
                answer = client.recv(60.0)
                chunk = unpack(answer)["actions"] if isinstance(answer, bytes) else None
                return bool(chunk is not None and chunk[0, 0] == 1.5)

        for actor in ("broker", "pick/0"):
            served.survives(actor, ask)

"""What a connection knows of itself, by real sockets: who answers, who does not, what is dead."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from holdfast.transport import keys, sockets
from holdfast.transport.connection import Condition, Connection, after
from holdfast.transport.keys import Authenticator, Keyring, PublicKey, Role
from holdfast.transport.poll import Poll

LOOPBACK = "tcp://127.0.0.1:*"
SILENCE_NS = 300_000_000


class Relay:
    """A TCP proxy that can forget the connections it has, without closing them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: list[socket.socket] = []
        self._forgotten: set[int] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self) -> None:
        """What the present connections send is taken, and never passed on."""
        self._forgotten |= {id(each) for each in self._open}

    def close(self) -> None:
        self._listener.close()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open += [client, server]
            for way in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=way, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if id(source) not in self._forgotten:
                    target.sendall(data)
        except OSError:
            return


class Site:
    """A broker's socket, with keys or without, and connections to it."""

    def __init__(self, directory: Path, keyed: bool) -> None:
        self.directory = directory
        self.broker = keys.new("broker", Role.BROKER, directory)
        self.robot = keys.new("r1", Role.ROBOT, directory)
        self.context: sockets.Context = zmq.Context()
        self.clients: sockets.Context = zmq.Context()
        self.authenticator: Authenticator | None = None
        options: dict[str, Any] = {}
        if keyed:
            self.authenticator = Authenticator(self.context, Keyring.of(directory))
            options = {"key": self.broker, "authenticator": self.authenticator}
        self.router = sockets.router(self.context, LOOPBACK, **options)
        self.endpoint = self.router.getsockopt_string(zmq.LAST_ENDPOINT)

    def connect(self, endpoint: str = "", key: Any = None, server: Any = None) -> Connection:
        endpoint = endpoint or self.endpoint
        public = PublicKey(server.peer, server.public) if server else None
        made = Connection(
            self.clients, endpoint, "r1:1", key=key, server=public, lost_after_ns=SILENCE_NS
        )
        made.watch(Poll())
        return made

    def until(self, connection: Connection, condition: Callable[[], Any]) -> None:
        """Serve both ends until `condition`: the broker's answers whatever it hears."""
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, (connection.condition, connection.reason)
            if self.authenticator is not None:
                self.authenticator.handle()
            if (frames := sockets.receive(self.router)) is not None:
                sockets.send(self.router, frames)
            sockets.send(connection.socket, [b"beat"])
            if sockets.receive(connection.socket) is not None:
                connection.heard(time.monotonic_ns())
            connection.tick(time.monotonic_ns())
            time.sleep(0.002)

    def close(self) -> None:
        if self.authenticator is not None:
            self.authenticator.close()
        self.clients.destroy(linger=0)
        self.context.destroy(linger=0)


@pytest.fixture(params=[True, False], ids=["keys", "no keys"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(tmp_path / "keys", request.param)
    yield made
    made.close()


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "keys", True)
    yield made
    made.close()


def test_a_key_that_is_not_accepted_is_told_apart_and_let_in_once_it_is_known(
    keyed: Site, tmp_path: Path
) -> None:
    """libzmq by itself would never try again."""
    mine = keys.new("r2", Role.ROBOT, tmp_path / "other")
    connection = keyed.connect(key=mine, server=keyed.broker)
    keyed.until(connection, lambda: connection.condition is Condition.REFUSED)
    assert mine.public.decode() in connection.reason and "r2" in connection.reason
    assert keyed.endpoint in connection.reason and "accept" in connection.reason
    assert keyed.authenticator is not None
    keyed.authenticator.ring = Keyring([PublicKey(mine.peer, mine.public)])
    keyed.until(connection, lambda: connection.condition is Condition.OPEN)
    assert connection.reason == ""


def test_a_broker_with_another_key_is_told_apart(keyed: Site, tmp_path: Path) -> None:
    other = keys.new("broker", Role.BROKER, tmp_path / "other")
    connection = keyed.connect(key=keyed.robot, server=other)
    keyed.until(connection, lambda: connection.condition is Condition.ENDED)
    assert f"not the broker whose key is {other.public.decode()}" in connection.reason


def test_keys_where_there_should_be_none_are_told_apart_and_none_where_there_should_be(
    site: Site,
) -> None:
    with_key = {"key": site.robot, "server": site.broker}
    wrong: dict[str, Any] = {} if site.authenticator else with_key
    connection = site.connect(**wrong)
    site.until(connection, lambda: connection.condition is Condition.FOREIGN)
    says = "demands keys" if site.authenticator else "uses no keys"
    assert says in connection.reason
    before = connection.remade
    site.until(connection, lambda: connection.remade > before)  # the other end may be mended


def test_nobody_at_the_address_is_told_apart_from_somebody_who_was_there(site: Site) -> None:
    with_key = {"key": site.robot, "server": site.broker} if site.authenticator else {}
    absent = site.connect("tcp://127.0.0.1:1", **with_key)
    site.until(absent, lambda: absent.condition is Condition.UNREACHABLE)
    assert "nothing answers at tcp://127.0.0.1:1" in absent.reason
    present = site.connect(**with_key)
    site.until(present, lambda: present.condition is Condition.OPEN)
    site.router.close(linger=0)
    deadline = time.monotonic() + 10
    while present.condition is not Condition.UNREACHABLE:
        assert time.monotonic() < deadline, present.condition
        present.tick(time.monotonic_ns())
        time.sleep(0.005)


def test_a_connection_that_leads_nowhere_is_made_anew(site: Site) -> None:
    """A relay forgot it without closing it: only the silence tells."""
    with_key = {"key": site.robot, "server": site.broker} if site.authenticator else {}
    relay = Relay(int(site.endpoint.rpartition(":")[2]))
    try:
        connection = site.connect(relay.endpoint, **with_key)
        site.until(connection, lambda: connection.condition is Condition.OPEN)
        relay.forget()
        site.until(connection, lambda: connection.remade == 1)
        heard: list[int] = []
        hear = connection.heard
        connection.heard = lambda now: (heard.append(now), hear(now))[1]  # type: ignore[method-assign,assignment,func-returns-value]
        site.until(connection, lambda: heard)
        assert connection.condition is Condition.OPEN
    finally:
        relay.close()


def test_a_connection_on_which_something_is_heard_stays(site: Site) -> None:
    """For several times as long as silence would have ended it."""
    with_key = {"key": site.robot, "server": site.broker} if site.authenticator else {}
    connection = site.connect(**with_key)
    site.until(connection, lambda: connection.condition is Condition.OPEN)
    until = time.monotonic() + 4 * SILENCE_NS / 1e9
    site.until(connection, lambda: time.monotonic() > until)
    assert connection.remade == 0


EVENTS = [
    zmq.EVENT_CONNECTED,
    zmq.EVENT_CLOSED,
    zmq.EVENT_DISCONNECTED,
    zmq.EVENT_CONNECT_RETRIED,
    zmq.EVENT_HANDSHAKE_SUCCEEDED,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
]


@given(events=st.lists(st.sampled_from(EVENTS)))
def test_a_connection_is_open_between_a_handshake_and_its_end_and_at_no_other_time(
    events: list[int],
) -> None:
    """Whatever libzmq reports, in whatever order."""
    condition, is_open = Condition.CONNECTING, False
    ends = {*EVENTS[1:3], *EVENTS[5:]}
    for event in events:
        condition = after(condition, event)
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            is_open = True
        elif event in ends:
            is_open = False
        assert (condition is Condition.OPEN) == is_open

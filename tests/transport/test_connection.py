"""The condition that a connection reports, with real sockets, keys and a relay."""

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

from holdfast.tests.waiting import wait_until
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
        """Discard from now on what the present connections send."""
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
        self.identities = set[bytes]()
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

    def connect(
        self,
        endpoint: str = "",
        key: Any = None,
        server: Any = None,
        lost_after_ns: int = SILENCE_NS,
    ) -> Connection:
        endpoint = endpoint or self.endpoint
        public = PublicKey(server.peer, server.public) if server else None
        made = Connection(
            self.clients, endpoint, "r1:1", key=key, server=public, lost_after_ns=lost_after_ns
        )
        made.watch(Poll())
        return made

    def accepted(self) -> dict[str, Any]:
        """What the broker accepts of a connection: its robot's key, or none."""
        return {"key": self.robot, "server": self.broker} if self.authenticator else {}

    def until(self, connection: Connection, condition: Callable[[], Any]) -> None:
        """Serve both ends until `condition`: the broker sends back whatever it receives."""

        def served() -> bool:
            if condition():
                return True
            if self.authenticator is not None:
                self.authenticator.handle()
            if (frames := sockets.receive(self.router)) is not None:
                self.identities.add(bytes(frames[0]))
                sockets.send(self.router, frames)
            sockets.send(connection.socket, [b"beat"])
            if sockets.receive(connection.socket) is not None:
                connection.heard(time.monotonic_ns())
            connection.tick(time.monotonic_ns())
            return False

        wait_until(served, "the connection's condition", every_s=0.002)

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


def test_a_refused_key_is_reported_and_accepted_once_it_is_known(
    keyed: Site, tmp_path: Path
) -> None:
    """The condition is REFUSED, and the connection tries again, which libzmq does not."""
    mine = keys.new("r2", Role.ROBOT, tmp_path / "other")
    connection = keyed.connect(key=mine, server=keyed.broker)
    keyed.until(connection, lambda: connection.condition is Condition.REFUSED)
    assert mine.public.decode() in connection.reason and "r2" in connection.reason
    assert keyed.endpoint in connection.reason and "accept" in connection.reason
    assert keyed.authenticator is not None
    keyed.authenticator.ring = Keyring([PublicKey(mine.peer, mine.public)])
    keyed.until(connection, lambda: connection.condition is Condition.OPEN)
    assert connection.reason == ""


def test_a_broker_with_another_key_is_reported(keyed: Site, tmp_path: Path) -> None:
    """The condition is ENDED, and the reason names the expected key."""
    other = keys.new("broker", Role.BROKER, tmp_path / "other")
    connection = keyed.connect(key=keyed.robot, server=other)
    keyed.until(connection, lambda: connection.condition is Condition.ENDED)
    assert f"not the broker whose key is {other.public.decode()}" in connection.reason


def test_a_peer_that_disagrees_about_keys_is_reported(
    site: Site,
) -> None:
    """The condition is FOREIGN on either side's fault, and the connection tries again."""
    with_key = {"key": site.robot, "server": site.broker}
    wrong: dict[str, Any] = {} if site.authenticator else with_key
    connection = site.connect(**wrong)
    site.until(connection, lambda: connection.condition is Condition.FOREIGN)
    says = "demands keys" if site.authenticator else "uses no keys"
    assert says in connection.reason
    before = connection.remade
    site.until(connection, lambda: connection.remade > before)  # the other end may be corrected


def test_an_address_without_a_listener_is_reported(site: Site) -> None:
    """The condition is UNREACHABLE, also when the listener goes away later."""
    with_key = site.accepted()
    absent = site.connect("tcp://127.0.0.1:1", **with_key)
    site.until(absent, lambda: absent.condition is Condition.UNREACHABLE)
    assert "nothing answers at tcp://127.0.0.1:1" in absent.reason
    present = site.connect(**with_key)
    site.until(present, lambda: present.condition is Condition.OPEN)
    site.router.close(linger=0)

    def unreachable() -> bool:
        present.tick(time.monotonic_ns())
        return present.condition is Condition.UNREACHABLE

    wait_until(unreachable, "the end of the connection")


def test_a_connection_that_leads_nowhere_is_replaced(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that forgot it is detected by silence; the next connection has its identity."""
    with_key = site.accepted()
    relay = Relay(int(site.endpoint.rpartition(":")[2]))
    try:
        connection = site.connect(relay.endpoint, **with_key)
        site.until(connection, lambda: connection.condition is Condition.OPEN)
        before = connection.remade
        relay.forget()
        site.until(connection, lambda: connection.remade > before)
        heard_ns: list[int] = []
        hear = connection.heard

        def heard(now_ns: int) -> None:
            heard_ns.append(now_ns)
            hear(now_ns)

        monkeypatch.setattr(connection, "heard", heard)
        site.until(connection, lambda: heard_ns)
        assert connection.condition is Condition.OPEN
        assert len(site.identities) == 1, "what the broker knows of the robot goes on"
    finally:
        relay.close()


def test_a_connection_with_an_answering_peer_is_kept(site: Site) -> None:
    """It outlasts the bound of silence."""
    connection = site.connect(**site.accepted(), lost_after_ns=1_000_000_000)
    site.until(connection, lambda: connection.condition is Condition.OPEN)
    until_s, before = time.monotonic() + 1.5, connection.remade
    site.until(connection, lambda: time.monotonic() > until_s)
    assert connection.remade == before


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
    """The condition is OPEN exactly then, for every order of libzmq's events."""
    condition, is_open = Condition.CONNECTING, False
    ends = {*EVENTS[1:3], *EVENTS[5:]}
    for event in events:
        condition = after(condition, event)
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            is_open = True
        elif event in ends:
            is_open = False
        assert (condition is Condition.OPEN) == is_open

"""Who gets through the broker's door, and under which name: real keys on real connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from holdfast.actors.broker.listener import Arrival, Listener
from holdfast.errors import WireError
from holdfast.tests.actors.broker.conftest import PATIENCE_S, WatchedContext
from holdfast.transport import keys, sockets
from holdfast.transport.keys import Authenticator, Keyring, PublicKey, Role


class Site:
    """A door with keys, and whoever tries to get through it, each with its own context."""

    def __init__(self, directory: Path):
        self.broker = keys.new("broker", Role.BROKER, directory)
        self.context: sockets.Context = zmq.Context()
        self.contexts: list[Any] = [self.context]
        self.robots = {name: keys.new(name, Role.ROBOT, directory) for name in ("r1", "r2")}
        self.replica = keys.new("flow/0", Role.REPLICA, directory)
        self.authenticator = Authenticator(self.context, Keyring.of(directory))
        self.door = Listener(
            self.context, "tcp://127.0.0.1:*", key=self.broker, authenticator=self.authenticator
        )
        self.endpoint = self.door.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def dealer(self, identity: str, key: keys.Key | None, server: PublicKey | None = None) -> Any:
        context = WatchedContext()
        self.contexts.append(context)
        server = server or PublicKey(self.broker.peer, self.broker.public)
        return sockets.dealer(context, self.endpoint, identity, key=key, server=server)

    def until(self, action: Callable[[], Any]) -> Any:
        """The first true result of `action`, while the door's authenticator does its work."""
        deadline = time.monotonic() + PATIENCE_S
        while not (result := action()):
            assert time.monotonic() < deadline, "it did not happen in time"
            self.authenticator.handle()
            self.door.socket.poll(2)
        return result

    def arrival(self) -> Arrival:
        arrived: Arrival = self.until(self.door.receive)
        return arrived

    def refuses(self, dealer: Any) -> None:
        """The newest connection's handshake fails, and nothing can be sent on it."""
        assert self.until(self.contexts[-1].handshake) == "refused"
        assert not sockets.send(dealer, [b"hello"])

    def close(self) -> None:
        self.authenticator.close()
        self.door.close(linger_ms=0)
        for context in self.contexts:
            context.destroy(linger=0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "keys")
    yield made
    made.close()


def test_a_known_key_is_let_in_and_whose_it_is_comes_with_every_message(site: Site) -> None:
    dealer = site.dealer("r1:1", site.robots["r1"])
    for text in (b"one", b"two"):
        site.until(lambda text=text: sockets.send(dealer, [text, b"more"]))
        arrived = site.arrival()
        assert (arrived.user, arrived.frames) == ("robot:r1", [text, b"more"])
        assert sockets.peer(arrived.identity, arrived.user, Role.ROBOT) == ("r1", 1)
    assert not site.authenticator.refused


def test_a_stranger_s_key_gets_no_connection(site: Site, tmp_path: Path) -> None:
    """Not even one that says the name and the role of a peer that is known."""
    site.refuses(site.dealer("r1:1", keys.new("r1", Role.ROBOT, tmp_path / "other")))
    assert site.authenticator.refused["unknown-key"] == 1
    friend = site.dealer("r1:1", site.robots["r1"])
    site.until(lambda: sockets.send(friend, [b"hello"]))
    assert site.arrival().user == "robot:r1"
    assert site.door.receive() is None


def test_a_peer_without_a_key_gets_no_connection(site: Site) -> None:
    site.refuses(site.dealer("r1:1", None))
    friend = site.dealer("r2:1", site.robots["r2"])
    site.until(lambda: sockets.send(friend, [b"hello"]))
    assert site.arrival().user == "robot:r2"
    assert site.door.receive() is None


def test_a_peer_does_not_talk_to_a_broker_with_another_key(site: Site, tmp_path: Path) -> None:
    """Whoever answers at the broker's address must hold the broker's key."""
    other = keys.new("broker", Role.BROKER, tmp_path / "other")
    server = PublicKey(other.peer, other.public)
    site.refuses(site.dealer("r1:1", site.robots["r1"], server=server))
    assert site.door.receive() is None


@pytest.mark.parametrize(
    ("holder", "identity", "role"),
    [("r2", "r1:1", Role.ROBOT), ("r1", "r1:1", Role.REPLICA), ("flow/0", "flow/0:1", Role.ROBOT)],
    ids=["another-name", "a-robot-as-a-replica", "a-replica-as-a-robot"],
)
def test_a_key_vouches_for_its_own_name_in_its_own_role_only(
    site: Site, holder: str, identity: str, role: Role
) -> None:
    key = site.replica if holder == "flow/0" else site.robots[holder]
    liar = site.dealer(identity, key)
    site.until(lambda: sockets.send(liar, [b"hello"]))
    arrived = site.arrival()
    assert arrived.user == str(key.peer), "the door says whose key it is, whatever the name"
    with pytest.raises(WireError, match=f"key of {key.peer} was used by {role}:"):
        sockets.peer(arrived.identity, arrived.user, role)


def test_a_key_holder_cannot_get_the_replies_of_another(site: Site) -> None:
    """A ROUTER believes any identity; a part of it that nobody else knows keeps r2 from r1's."""
    victim = site.dealer("r1:1", site.robots["r1"])
    site.until(lambda: sockets.send(victim, [b"request"]))
    route = site.arrival().identity
    thief = site.dealer("r1:1", site.robots["r2"])
    site.until(lambda: sockets.send(thief, [b"request"]))
    stolen = site.arrival().identity
    assert stolen != route
    assert site.door.send([route, b"chunk"]) is None
    assert site.until(lambda: sockets.receive(victim)) == [b"chunk"]
    assert site.door.send([stolen, b"no chunk"]) is None
    assert site.until(lambda: sockets.receive(thief)) == [b"no chunk"]


def test_without_keys_nobody_is_vouched_for(site: Site) -> None:
    door = Listener(site.context, "tcp://127.0.0.1:*")
    dealer = sockets.dealer(site.context, door.socket.getsockopt_string(zmq.LAST_ENDPOINT), "r1:1")
    site.until(lambda: sockets.send(dealer, [b"hello"]))
    arrived = site.until(door.receive)
    assert (arrived.identity, arrived.user, arrived.frames) == (b"r1:1", "", [b"hello"])
    door.close(linger_ms=0)

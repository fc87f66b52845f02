"""Which peers a listener accepts, and under which name: real keys on real connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import zmq

from holdfast.actors.broker.arrival import Arrival
from holdfast.actors.broker.listener import Listener
from holdfast.errors import WireError
from holdfast.tests.actors.broker.live_broker import PATIENCE_S, WatchedContext
from holdfast.tests.waiting import wait_until
from holdfast.transport import keys, sockets
from holdfast.transport.keys import Authenticator, Keyring, PublicKey, Role

T = TypeVar("T")


class Site:
    """A listener with keys, and peers, each with its own context."""

    def __init__(self, directory: Path):
        self.broker = keys.new("broker", Role.BROKER, directory)
        self.context: sockets.Context = zmq.Context()
        self.contexts: list[Any] = [self.context]
        self.robots = {name: keys.new(name, Role.ROBOT, directory) for name in ("r1", "r2")}
        self.replica = keys.new("flow/0", Role.REPLICA, directory)
        self.authenticator = Authenticator(self.context, Keyring.of(directory))
        self.listener = Listener(
            self.context, "tcp://127.0.0.1:*", key=self.broker, authenticator=self.authenticator
        )
        self.endpoint = self.listener.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def dealer(self, identity: str, key: keys.Key | None, server: PublicKey | None = None) -> Any:
        context = WatchedContext()
        self.contexts.append(context)
        server = server or PublicKey(self.broker.peer, self.broker.public)
        return sockets.dealer(context, self.endpoint, identity, key=key, server=server)

    def until(self, action: Callable[[], T | None]) -> T:
        """The first truthy result of `action`, while the listener's authenticator works."""

        def served() -> T | None:
            self.authenticator.handle()
            return action()

        return wait_until(served, "the peer", PATIENCE_S, every_s=0.002)

    def arrival(self) -> Arrival:
        return self.until(self.listener.receive)

    def refuses(self, dealer: Any) -> None:
        """The newest connection's handshake fails, and nothing can be sent on it."""
        assert self.until(self.contexts[-1].handshake) == "refused"
        assert not sockets.send(dealer, [b"hello"])

    def close(self) -> None:
        self.authenticator.close()
        self.listener.close(linger_ms=0)
        for context in self.contexts:
            context.destroy(linger=0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "keys")
    yield made
    made.close()


def test_a_known_key_is_accepted_and_every_message_has_its_owner(site: Site) -> None:
    """`user` is role and name of the key."""
    dealer = site.dealer("r1:1", site.robots["r1"])
    for text in (b"one", b"two"):
        site.until(partial(sockets.send, dealer, [text, b"more"]))
        arrived = site.arrival()
        assert (arrived.user, arrived.frames) == ("robot:r1", [text, b"more"])
        assert sockets.peer(arrived.identity, arrived.user, Role.ROBOT) == ("r1", 1)
    assert not site.authenticator.refused


def test_an_unknown_key_gets_no_connection(site: Site, tmp_path: Path) -> None:
    """Not even one made for the name and the role of a known peer."""
    site.refuses(site.dealer("r1:1", keys.new("r1", Role.ROBOT, tmp_path / "other")))
    assert site.authenticator.refused["unknown-key"] == 1
    friend = site.dealer("r1:1", site.robots["r1"])
    site.until(lambda: sockets.send(friend, [b"hello"]))
    assert site.arrival().user == "robot:r1"
    assert site.listener.receive() is None


def test_a_peer_without_a_key_gets_no_connection(site: Site) -> None:
    """Its handshake fails, and a known peer is heard."""
    site.refuses(site.dealer("r1:1", None))
    friend = site.dealer("r2:1", site.robots["r2"])
    site.until(lambda: sockets.send(friend, [b"hello"]))
    assert site.arrival().user == "robot:r2"
    assert site.listener.receive() is None


def test_a_peer_refuses_a_broker_with_another_key(site: Site, tmp_path: Path) -> None:
    """The listener at the broker's address must hold the broker's key."""
    other = keys.new("broker", Role.BROKER, tmp_path / "other")
    server = PublicKey(other.peer, other.public)
    site.refuses(site.dealer("r1:1", site.robots["r1"], server=server))
    assert site.listener.receive() is None


@pytest.mark.parametrize(
    ("holder", "identity", "role"),
    [("r2", "r1:1", Role.ROBOT), ("r1", "r1:1", Role.REPLICA), ("flow/0", "flow/0:1", Role.ROBOT)],
    ids=["another-name", "a-robot-as-a-replica", "a-replica-as-a-robot"],
)
def test_a_key_proves_its_own_name_in_its_own_role_only(
    site: Site, holder: str, identity: str, role: Role
) -> None:
    """The arrival has the key's owner, whatever its identity says."""
    key = site.replica if holder == "flow/0" else site.robots[holder]
    liar = site.dealer(identity, key)
    site.until(lambda: sockets.send(liar, [b"hello"]))
    arrived = site.arrival()
    assert arrived.user == str(key.peer), "the arrival has the owner of the key, whatever the name"
    with pytest.raises(WireError, match=f"key of {key.peer} was used by {role}:"):
        sockets.peer(arrived.identity, arrived.user, role)


def test_the_owner_of_a_key_cannot_get_the_replies_of_another(site: Site) -> None:
    """The secret part of an identity keeps another peer from claiming it."""
    victim = site.dealer("r1:1", site.robots["r1"])
    site.until(lambda: sockets.send(victim, [b"request"]))
    route = site.arrival().identity
    thief = site.dealer("r1:1", site.robots["r2"])
    site.until(lambda: sockets.send(thief, [b"request"]))
    stolen = site.arrival().identity
    assert stolen != route
    assert site.listener.send([route, b"chunk"]) is None
    assert site.until(lambda: sockets.receive(victim)) == [b"chunk"]
    assert site.listener.send([stolen, b"no chunk"]) is None
    assert site.until(lambda: sockets.receive(thief)) == [b"no chunk"]


def test_an_arrival_without_keys_has_no_owner(site: Site) -> None:
    """Identity and frames are as sent, `user` is empty."""
    listener = Listener(site.context, "tcp://127.0.0.1:*")
    dealer = sockets.dealer(
        site.context, listener.socket.getsockopt_string(zmq.LAST_ENDPOINT), "r1:1"
    )
    site.until(lambda: sockets.send(dealer, [b"hello"]))
    arrived = site.until(listener.receive)
    assert (arrived.identity, arrived.user, arrived.frames) == (b"r1:1", "", [b"hello"])
    listener.close(linger_ms=0)

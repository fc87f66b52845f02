from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from holdfast.transport import keys, link
from holdfast.transport.keys import Authenticator, KeyProblem, Keyring, Peer, PublicKey, Role

LOOPBACK = "tcp://127.0.0.1:*"


def public(key: keys.Key) -> PublicKey:
    return PublicKey(key.peer, key.public)


def test_libzmq_from_the_wheel_can_encrypt():
    """Keys work without any package of the system."""
    assert zmq.has("curve")


def test_a_key_is_read_as_it_was_made(tmp_path: Path):
    made = keys.new("pick/0", Role.REPLICA, tmp_path / "keys")
    path = tmp_path / "keys" / "pick@0.key"
    assert keys.load(path) == made
    assert made.peer == Peer("pick/0", Role.REPLICA)
    for readable in (path, path.with_suffix(".pub")):
        assert keys.load_public(readable) == public(made)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_secret_is_neither_shown_nor_in_the_public_file(tmp_path: Path):
    made = keys.new("r1", Role.ROBOT, tmp_path)
    secret = made.secret.decode()
    assert secret not in repr(made) and secret not in str(made)
    assert secret not in (tmp_path / "r1.pub").read_text()
    with pytest.raises(KeyProblem, match="no secret key"):
        keys.load(tmp_path / "r1.pub")


def test_a_key_is_not_overwritten(tmp_path: Path):
    """A replaced key locks its holder out."""
    made = keys.new("r1", Role.ROBOT, tmp_path)
    with pytest.raises(KeyProblem, match="delete it first"):
        keys.new("r1", Role.ROBOT, tmp_path)
    assert keys.load(tmp_path / "r1.key") == made


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path):
    keys.new("r1", Role.ROBOT, tmp_path)
    (tmp_path / "r1.key").chmod(0o640)
    with pytest.raises(KeyProblem, match="chmod 600"):
        keys.load(tmp_path / "r1.key")


@pytest.mark.parametrize("name", ["", "../r1", "a b", "-x", "x" * 200, "r1:2", "r\n1"])
def test_a_name_that_is_no_name_gets_no_key(name: str, tmp_path: Path):
    with pytest.raises(KeyProblem, match="no name for a key"):
        keys.new(name, Role.ROBOT, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "expected a name"),
        ("name r1\nrole king\n", "out of broker, robot, replica, operator"),
        ("name r1\nrole robot\npublic tooshort\n", "no public key of 40 characters"),
        ("name r1\nrole robot\npublic " + "é" * 20, "no public key of 40 characters"),
        ("\x00\xff" * 5000, "expected a name"),
    ],
)
def test_a_file_that_is_no_key_is_refused_with_what_is_wrong(
    content: str, problem: str, tmp_path: Path
):
    path = tmp_path / "r1.pub"
    path.write_text(content)
    with pytest.raises(KeyProblem, match=problem):
        keys.load_public(path)
    with pytest.raises(KeyProblem, match="cannot read"):
        keys.load(tmp_path / "missing.key")


def test_one_key_for_two_names_is_refused(tmp_path: Path):
    made = public(keys.new("r1", Role.ROBOT, tmp_path))
    with pytest.raises(KeyProblem, match="have the same key"):
        Keyring([made, PublicKey(Peer("r2", Role.ROBOT), made.public)])
    assert Keyring([made, made]).peer(made.public) == made.peer


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://*:5555", "tcp://0.0.0.0:5555", "tcp://10.0.0.1:1", "tcp://eth0:1", "tcp://[::]:1"],
)
def test_an_endpoint_that_others_can_reach_needs_a_key(endpoint: str, tmp_path: Path):
    with pytest.raises(KeyProblem, match=r"actorctl keys new.*insecure: true"):
        keys.require(endpoint, None)
    keys.require(endpoint, None, insecure=True)
    keys.require(endpoint, keys.new("broker", Role.BROKER, tmp_path))


@pytest.mark.parametrize(
    "endpoint",
    ["ipc:///run/x", "inproc://x", "tcp://127.0.0.1:1", "tcp://127.8.0.1:*", "tcp://[::1]:1"],
)
def test_an_endpoint_of_this_machine_needs_none(endpoint: str):
    keys.require(endpoint, None)


class Site:
    """A broker with keys, and whoever tries to connect to it, each with its own context."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.broker = keys.new("broker", Role.BROKER, directory)
        self.context = zmq.Context()
        self.contexts = [self.context]
        self.robots = {name: keys.new(name, Role.ROBOT, directory) for name in ("r1", "r2")}
        self.authenticator = Authenticator(self.context, Keyring.of(directory))
        self.router = link.router(
            self.context, LOOPBACK, key=self.broker, authenticator=self.authenticator
        )
        self.endpoint = self.router.getsockopt_string(zmq.LAST_ENDPOINT)

    def dealer(self, identity: str, key: keys.Key | None, server: PublicKey | None = None) -> Any:
        context = zmq.Context()
        self.contexts.append(context)
        server = server or public(self.broker)
        return link.dealer(context, self.endpoint, identity, key=key, server=server)

    def until(self, action: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20
        while not (result := action()):
            assert time.monotonic() < deadline, "it did not happen in time"
            self.authenticator.handle()
            time.sleep(0.002)
        return result

    def close(self) -> None:
        self.authenticator.close()
        for context in self.contexts:
            context.destroy(linger=0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "keys")
    yield made
    made.close()


def test_a_known_key_is_let_in_and_its_name_stamped_on_every_message(site: Site):
    dealer = site.dealer("r1:1", site.robots["r1"])
    for text in (b"one", b"two"):
        site.until(lambda text=text: link.send(dealer, [text, b"more"]))
        user, (identity, *frames) = site.until(lambda: link.receive_from(site.router))
        assert user == "robot:r1"
        assert frames == [text, b"more"]
        assert link.peer(identity, user, Role.ROBOT) == ("r1", 1)
    assert not site.authenticator.refused


def test_an_unknown_key_is_refused_and_counted(site: Site, tmp_path: Path):
    stranger = site.dealer("r1:1", keys.new("r1", Role.ROBOT, tmp_path / "other"))
    site.until(lambda: site.authenticator.refused["unknown-key"])
    assert not link.send(stranger, [b"hello"])
    friend = site.dealer("r1:1", site.robots["r1"])
    site.until(lambda: link.send(friend, [b"hello"]))
    assert site.until(lambda: link.receive_from(site.router))[0] == "robot:r1"


def test_a_peer_without_a_key_gets_nothing_through(site: Site):
    stranger = site.dealer("r1:1", None)
    friend = site.dealer("r2:1", site.robots["r2"])
    link.send(stranger, [b"hello"])
    site.until(lambda: link.send(friend, [b"hello"]))
    assert site.until(lambda: link.receive_from(site.router))[0] == "robot:r2"
    assert link.receive_from(site.router) is None
    assert not link.send(stranger, [b"hello"])


def test_a_peer_does_not_talk_to_a_broker_with_another_key(site: Site, tmp_path: Path):
    """Whoever answers at the broker's address must hold the broker's key."""
    other = keys.new("broker", Role.BROKER, tmp_path / "other")
    careful = site.dealer("r1:1", site.robots["r1"], server=public(other))
    friend = site.dealer("r2:1", site.robots["r2"])
    site.until(lambda: link.send(friend, [b"hello"]))
    assert not link.send(careful, [b"hello"])


def test_a_key_holder_cannot_get_the_replies_of_another(site: Site):
    """A ROUTER believes any identity; a part of it that nobody else knows keeps r2 from r1's."""
    victim = site.dealer("r1:1", site.robots["r1"])
    site.until(lambda: link.send(victim, [b"request"]))
    _, (route, _) = site.until(lambda: link.receive_from(site.router))
    thief = site.dealer("r1:1", site.robots["r2"])
    site.until(lambda: link.send(thief, [b"request"]))
    user, (identity, _) = site.until(lambda: link.receive_from(site.router))
    with pytest.raises(link.WireError, match="key of robot:r2"):
        link.peer(identity, user, Role.ROBOT)
    assert link.send(site.router, [route, b"chunk"])
    assert site.until(lambda: link.receive(victim)) == [b"chunk"]
    assert link.receive(thief) is None


def test_a_socket_with_a_key_but_without_an_authenticator_is_not_made(site: Site):
    """libzmq would let every key in."""
    for half in ({"key": site.broker}, {"authenticator": site.authenticator}):
        with pytest.raises(ValueError, match="or neither"):
            link.router(site.context, LOOPBACK, **half)


def test_a_dealer_with_a_key_needs_the_servers(site: Site):
    with pytest.raises(KeyProblem, match="server's public key"):
        link.dealer(site.context, site.endpoint, "r1:1", key=site.robots["r1"])


def test_without_keys_nobody_is_stamped(site: Site):
    router = link.router(site.context, LOOPBACK)
    dealer = link.dealer(site.context, router.getsockopt_string(zmq.LAST_ENDPOINT), "r1:1")
    site.until(lambda: link.send(dealer, [b"hello"]))
    assert site.until(lambda: link.receive_from(router)) == ("", [b"r1:1", b"hello"])

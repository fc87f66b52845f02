"""CURVE keys: files, rings, and endpoints that need them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from holdfast.errors import KeyFileError
from holdfast.transport import keys, sockets
from holdfast.transport.keys import Authenticator, KeyOwner, Keyring, PublicKey, Role


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def public(key: keys.Key) -> PublicKey:
    return PublicKey(key.peer, key.public)


def test_libzmq_from_the_wheel_can_encrypt() -> None:
    """Keys work without any package of the system."""
    assert zmq.has("curve")


def test_a_key_is_read_as_it_was_made(tmp_path: Path) -> None:
    """Secret and public file load to the same key, with modes 0600 and 0700."""
    made = keys.new("pick/0", Role.REPLICA, tmp_path / "keys")
    path = tmp_path / "keys" / "pick@0.key"
    assert keys.load(path) == made
    assert made.peer == KeyOwner("pick/0", Role.REPLICA)
    for readable in (path, path.with_suffix(".pub")):
        assert keys.load_public(readable) == public(made)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_secret_is_neither_shown_nor_in_the_public_file(tmp_path: Path) -> None:
    """repr, str and the .pub file do not contain it."""
    made = keys.new("r1", Role.ROBOT, tmp_path)
    secret = made.secret.decode()
    assert secret not in repr(made) and secret not in str(made)
    assert secret not in (tmp_path / "r1.pub").read_text()
    with pytest.raises(KeyFileError, match="no secret key"):
        keys.load(tmp_path / "r1.pub")


def test_a_key_is_not_overwritten(tmp_path: Path) -> None:
    """Making it again raises KeyFileError and keeps the old one."""
    made = keys.new("r1", Role.ROBOT, tmp_path)
    with pytest.raises(KeyFileError, match="delete it first"):
        keys.new("r1", Role.ROBOT, tmp_path)
    assert keys.load(tmp_path / "r1.key") == made


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A mode that is open to the group raises KeyFileError with the remedy."""
    keys.new("r1", Role.ROBOT, tmp_path)
    (tmp_path / "r1.key").chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        keys.load(tmp_path / "r1.key")


@pytest.mark.parametrize("name", ["", "../r1", "a b", "-x", "x" * 200, "r1:2", "r\n1"])
def test_an_invalid_name_gets_no_key(name: str, tmp_path: Path) -> None:
    """It raises KeyFileError, and no file is written."""
    with pytest.raises(KeyFileError, match="no name for a key"):
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
def test_a_damaged_key_file_is_refused_with_the_reason(
    content: str, problem: str, tmp_path: Path
) -> None:
    """Name, role and key are checked; a missing file is reported as such."""
    path = tmp_path / "r1.pub"
    path.write_text(content)
    with pytest.raises(KeyFileError, match=problem):
        keys.load_public(path)
    with pytest.raises(KeyFileError, match="cannot read"):
        keys.load(tmp_path / "missing.key")


def test_one_key_for_two_names_is_refused(tmp_path: Path) -> None:
    """A ring with it raises KeyFileError; twice the same owner is accepted."""
    made = public(keys.new("r1", Role.ROBOT, tmp_path))
    with pytest.raises(KeyFileError, match="have the same key"):
        Keyring([made, PublicKey(KeyOwner("r2", Role.ROBOT), made.public)])
    assert Keyring([made, made]).peer(made.public) == made.peer


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://*:5555", "tcp://0.0.0.0:5555", "tcp://10.0.0.1:1", "tcp://eth0:1", "tcp://[::]:1"],
)
def test_an_endpoint_that_others_can_reach_needs_a_key(endpoint: str, tmp_path: Path) -> None:
    """Without one it raises KeyFileError, unless `insecure`."""
    with pytest.raises(KeyFileError, match=r"actorctl keys new.*insecure: true"):
        keys.require(endpoint, None)
    keys.require(endpoint, None, insecure=True)
    keys.require(endpoint, keys.new("broker", Role.BROKER, tmp_path))


@pytest.mark.parametrize(
    "endpoint",
    ["ipc:///run/x", "inproc://x", "tcp://127.0.0.1:1", "tcp://127.8.0.1:*", "tcp://[::1]:1"],
)
def test_an_endpoint_of_this_machine_needs_no_key(endpoint: str) -> None:
    """ipc, inproc and loopback are accepted without a key."""
    keys.require(endpoint, None)


def test_a_socket_with_a_key_but_without_an_authenticator_is_not_made(
    context: sockets.Context, tmp_path: Path
) -> None:
    """Half of the two raises ValueError: libzmq would accept every key."""
    key = keys.new("broker", Role.BROKER, tmp_path)
    authenticator = Authenticator(context, Keyring.of(tmp_path))
    for half in ({"key": key}, {"authenticator": authenticator}):
        with pytest.raises(ValueError, match="or neither"):
            sockets.router(context, "tcp://127.0.0.1:*", **half)
    authenticator.close()


def test_a_dealer_with_a_key_needs_the_servers_key(
    context: sockets.Context, tmp_path: Path
) -> None:
    """Without the server's public key it raises KeyFileError."""
    key = keys.new("r1", Role.ROBOT, tmp_path)
    with pytest.raises(KeyFileError, match="server's public key"):
        sockets.dealer(context, "tcp://127.0.0.1:1", "r1:1", key=key)

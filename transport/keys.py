"""CURVE keys: which peers may connect, under which name and role.

A key belongs to one name and one role. A server's keyring holds the public keys of the peers that
it accepts; the authenticator answers libzmq's ZAP request for each new connection (RFC 27) and puts
the key's owner into every message of the connection (`User-Id`).

Guarantees: with a key on the socket, no message arrives of a peer whose key is not in the ring.
Does not guarantee: that a peer uses its own name: `sockets.peer` compares it with the key's.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import zmq
from zmq.utils import z85

from ..errors import KeyFileError
from . import key_file

DOMAIN = b"holdfast"


class Role(StrEnum):
    """What the owner of a key may do."""

    BROKER = "broker"
    ROBOT = "robot"
    REPLICA = "replica"
    OPERATOR = "operator"
    TOKEN = "token"  # noqa: S105 a word, no secret
    """Lets its holder enrol a key of its own, and nothing else."""


@dataclass(frozen=True)
class KeyOwner:
    """The name and role that a key belongs to."""

    name: str
    role: Role

    def __str__(self) -> str:
        return f"{self.role}:{self.name}"


@dataclass(frozen=True)
class PublicKey:
    """The public half of a key. `public` is 40 characters of Z85."""

    peer: KeyOwner
    public: bytes


@dataclass(frozen=True, repr=False)
class Key:
    """Both halves of a key, in Z85. Its repr shows the public one only."""

    peer: KeyOwner
    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.peer}, public={self.public.decode()})"


def new(name: str, role: Role, directory: Path) -> Key:
    """Make a key pair: `directory/name.key` (0600) for its owner, `name.pub` for its peers.

    Raises KeyFileError for an invalid name, and where the files exist: a replaced key locks its
    owner out.
    """
    if not key_file.NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} is no name for a key: use letters, digits and _ . / -")
    if role is Role.TOKEN:
        raise KeyFileError("a token is made by `actorctl keys token`")
    public, secret = zmq.curve_keypair()
    key = Key(KeyOwner(name, role), public, secret)
    path = key_file.path_of(directory, name, ".key")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f"name {name}", f"role {role}", f"public {public.decode()}"]
    key_file.create(path, [*lines, f"secret {secret.decode()}"], 0o600)
    key_file.create(key_file.path_of(directory, name, ".pub"), lines, 0o644)
    return key


def load(path: Path) -> Key:
    """Read a `.key` file. Raises KeyFileError if it is not one or if other users may read it."""
    fields = key_file.fields_of(path)
    if b"secret" not in fields:
        raise KeyFileError(f"{path} holds no secret key: give the .key file, not the .pub file")
    key_file.require_private(path)
    public = _public(path, fields)
    return Key(public.peer, public.public, key_file.z85_of(path, fields, b"secret"))


def load_public(path: Path) -> PublicKey:
    """Read the public half from a `.pub` or `.key` file. Raises KeyFileError."""
    return _public(path, key_file.fields_of(path))


class Keyring:
    """The public keys of the accepted peers. Raises KeyFileError for a key of two owners."""

    def __init__(self, keys: Iterable[PublicKey]):
        self._peers: dict[bytes, KeyOwner] = {}
        for key in keys:
            other = self._peers.setdefault(key.public, key.peer)
            if other != key.peer:
                raise KeyFileError(f"{key.peer} and {other} have the same key: make each its own")

    @classmethod
    def of(cls, directory: Path) -> Keyring:
        """The ring of all `.pub` files of a directory. Raises KeyFileError."""
        return cls(load_public(path) for path in sorted(directory.glob("*.pub")))

    def __len__(self) -> int:
        return len(self._peers)

    def peer(self, public: bytes) -> KeyOwner | None:
        """The owner of a public key (Z85); None if it is unknown."""
        return self._peers.get(public)

    def has(self, role: Role) -> bool:
        """Whether it has a key of that role."""
        return any(peer.role is role for peer in self._peers.values())


KEY_PROPERTY = "X-Key"
"""The message property with the public key (Z85) of its connection."""
MAX_UNKNOWN_KEYS = 64


@dataclass
class UnknownKey:
    """A public key (Z85) that was refused: the last address that used it, and how many times."""

    key: str
    address: str = ""
    times: int = 0


class Authenticator:
    """Answers libzmq's ZAP requests of one context: poll `socket`, call `handle` when readable.

    Make it before any socket with a key. It runs in its owner's loop: while that hangs no
    connection is accepted. `refused` counts by reason; `unknown_keys` are the last
    `MAX_UNKNOWN_KEYS` that are not in the ring. An open connection stays open when the ring
    changes: the owner checks `KEY_PROPERTY` of each message.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], ring: Keyring):
        self.ring = ring
        self.refused: Counter[str] = Counter()
        self.unknown_keys: OrderedDict[str, UnknownKey] = OrderedDict()
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind("inproc://zeromq.zap.01")

    def handle(self) -> None:
        """Answer all pending requests."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self._answer(frames)

    def close(self) -> None:
        """Stop answering: no further connection is accepted."""
        self.socket.close()

    def _answer(self, frames: list[bytes]) -> None:
        split = frames.index(b"")
        envelope, request = frames[: split + 1], frames[split + 1 :]
        version, request_id, domain, address, _routing_id, mechanism, *credentials = request
        peer, public = None, b""
        if domain != DOMAIN:
            reason = "domain"
        elif mechanism != b"CURVE" or len(credentials) != 1:
            reason = "mechanism"
        else:
            public = z85.encode(credentials[0])
            peer = self.ring.peer(public)
            reason = "unknown-key"
        if peer is None:
            self.refused[reason] += 1
            if public:
                self._note(public.decode(), address.decode("ascii", "replace"))
            verdict = [b"400", reason.encode(), b"", b""]
        else:
            verdict = [b"200", b"OK", str(peer).encode(), _metadata(KEY_PROPERTY, public)]
        self.socket.send_multipart([*envelope, version, request_id, *verdict], zmq.DONTWAIT)

    def _note(self, key: str, address: str) -> None:
        unknown = self.unknown_keys.setdefault(key, UnknownKey(key))
        unknown.address, unknown.times = address[:64], unknown.times + 1
        self.unknown_keys.move_to_end(key)
        if len(self.unknown_keys) > MAX_UNKNOWN_KEYS:
            self.unknown_keys.popitem(last=False)


def _metadata(name: str, value: bytes) -> bytes:
    """One metadata property as ZAP encodes it (RFC 27, as in ZMTP)."""
    return bytes([len(name)]) + name.encode() + len(value).to_bytes(4, "big") + value


def require(endpoint: str, key: Key | None, *, insecure: bool = False) -> None:
    """Raise KeyFileError if `endpoint` has no key and other machines can reach it (it is not ipc,
    inproc or loopback), unless `insecure`."""
    if key is None and not insecure and not is_local(endpoint):
        raise KeyFileError(
            f"{endpoint} can be reached from other machines and has no key: make keys (`actorctl "
            "keys new NAME`) and name them in fleet.yaml, bind to 127.0.0.1, or write `insecure: "
            "true` to let everyone on the network command the robots"
        )


def is_local(endpoint: str) -> bool:
    """Whether only processes of this machine can reach `endpoint`."""
    scheme, _, rest = endpoint.partition("://")
    if scheme in ("ipc", "inproc"):
        return True
    host = rest.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # an interface's name, `*`, or a host name


def _public(path: Path, fields: dict[bytes, bytes]) -> PublicKey:
    name, role = key_file.text_of(fields, b"name"), key_file.text_of(fields, b"role")
    if not key_file.NAME.fullmatch(name) or role not in list(Role):
        raise KeyFileError(
            f"{path} names {name!r} as {role!r}: expected a name, and a role out of "
            f"{', '.join(Role)}; make it with `actorctl keys`"
        )
    return PublicKey(KeyOwner(name, Role(role)), key_file.z85_of(path, fields, b"public"))

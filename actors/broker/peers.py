"""`Peer`: the sender of a message, and the name that it is counted by."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from ...transport import sockets
from ...transport.keys import Role


class Peer(msgspec.Struct, frozen=True):
    """One incarnation of one named peer; `identity` is its routing id.

    A replica's name is `<service>/<k>`. The incarnation counts restarts under one supervisor: of
    two peers of one name the higher is the newer. With CURVE keys the shell has checked that the
    name is the key's; without keys the name is not verified.
    """

    identity: bytes
    name: str
    incarnation: int
    key: str = ""
    """The public key (Z85) that it connected with; empty without keys."""

    @property
    def service(self) -> str:
        """The service in a replica's name: everything before the last slash."""
        return self.name.rpartition("/")[0]


@lru_cache(maxsize=1024)
def peer_of(identity: bytes, user: str, key: str, role: Role) -> Peer:
    """The peer of a connection, whose key is that of `user`; see `sockets.peer`, and WireError
    there."""
    return Peer(identity, *sockets.peer(identity, user, role), key)


def name_of(identity: bytes) -> str:
    """The name in a routing id, as far as it is one."""
    return identity.partition(b":")[0].decode("ascii", "replace")


def label(identity: bytes) -> str:
    """The name to count a peer by, whatever its identity; `unnamed` where that is unprintable."""
    name = name_of(identity)
    return name[:64] if name and name.isascii() and name.isprintable() else "unnamed"

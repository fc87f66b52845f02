"""Which user's process holds the other end of a TCP connection on this machine.

TCP on loopback carries no credentials, but the kernel lists every socket with its owner in
/proc/net/tcp and tcp6. Only an established connection that a process still holds counts: the kernel
lists user 0 for the others.
"""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import NamedTuple

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"


class End(NamedTuple):
    """One end of a connection."""

    host: str
    port: int


def owner(theirs: End, ours: End) -> int | None:
    """The user id of the process at `theirs`, connected to `ours`; None if this machine has no such
    connection, or does not list it."""
    wanted = _plain(theirs), _plain(ours)
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] != _ESTABLISHED or fields[9] == "0":
                continue
            if (_parse(fields[1]), _parse(fields[2])) == wanted:
                return int(fields[7])
    return None


def _parse(text: str) -> End:
    """`0100007F:2267`: the address in 32-bit words of the machine's byte order."""
    address, _, port = text.partition(":")
    packed = bytes.fromhex(address)
    if sys.byteorder == "little":
        packed = b"".join(packed[k : k + 4][::-1] for k in range(0, len(packed), 4))
    return _plain(End(str(ipaddress.ip_address(packed)), int(port, 16)))


def _plain(end: End) -> End:
    """With an IPv4-mapped IPv6 address as IPv4."""
    address = ipaddress.ip_address(end.host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return End(str(mapped or address), end.port)

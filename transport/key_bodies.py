"""The bodies of messages about keys: a peer enrols, brokers exchange what enrolled.

Evolution as in bodies.py, whose table has these too.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from .limits import DEFAULT

_Name = Annotated[str, msgspec.Meta(max_length=DEFAULT.max_name_chars)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_few = msgspec.Meta(max_length=DEFAULT.max_items)


class Enrol(msgspec.Struct, frozen=True, kw_only=True):
    """A peer that connected with a token asks that `key`, a public one in Z85, be accepted as that
    of `name` from now on. Answered by ENROLLED, or REJECT."""

    name: _Name
    key: _Name


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """The key of `name` is accepted. `brokers`: the public keys of the site's brokers, by name."""

    name: _Name
    brokers: Annotated[dict[_Name, _Name], _few] = {}


class PeerKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key that enrolled, of whom, and with which token; of role `revoked` one that is
    never accepted again."""

    key: _Name
    name: _Name = ""
    role: _Name = ""
    enrolled_with: _Name = ""


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """One broker asks another one which keys have enrolled there, from the entry `start` on.
    `digest`: of the list that it has; in the answer, of the list that there is. The answer has
    `total` entries in all and, where the digests differ, some of them from `start` on."""

    digest: _Name = ""
    start: _Count = 0
    total: _Count = 0
    keys: Annotated[tuple[PeerKey, ...], _few] = ()

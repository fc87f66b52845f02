"""The body of messages about the emergency stops of a site: what its hosts exchange.

Evolution as in bodies.py, whose table has it too.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from .limits import DEFAULT

_Name = Annotated[str, msgspec.Meta(max_length=DEFAULT.max_name_chars)]
_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Instant = Annotated[float, msgspec.Meta(ge=0, le=1e11)]
# `$` would take a line feed at the end too, and so several forms of one id or proof.
_Proof = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[0-9a-f]*\Z")]
_Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
STOPPED = "STOPPED"
"""The state of a robot that a stop holds."""
MAX_STOPS = 16
"""Stops that are in force, and as many that were lifted."""
MAX_NAMED = 64
"""Robots that one stop names."""
MAX_REPLACED = 128
"""Stops that one stands in for, by name."""
_Robots = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=MAX_NAMED)]


class SiteStop(msgspec.Struct, frozen=True, kw_only=True):
    """Robots of the site are to stand still until this stop is lifted: those in `robots`, or all
    where that is empty. `at_s`: since 1970, for people. `instead_of`: the ids of the stops that it
    stands in for, sorted; `id` is then their hash."""

    id: _Id
    robots: _Robots = ()
    by: _Text = ""
    why: _Text = ""
    at_s: _Instant = 0.0
    instead_of: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_REPLACED)] = ()


class Lift(msgspec.Struct, frozen=True, kw_only=True):
    """The stop `stop` is lifted from `robots`, or from all where that is empty.

    In a fleet with keys `key` is an operator's public one (Z85) and `proof` its signature in hex:
    XEdDSA of the MessagePack array `["holdfast lift", stop, robots]`.
    """

    stop: _Id
    robots: _Robots = ()
    by: _Text = ""
    key: _Name = ""
    proof: _Proof = ""


class HeldRobot(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the stops at one robot, which `host` drives: which of them hold it (`stops`),
    whether its driver commands nothing (`latched`) and its device has confirmed that it holds, and
    why not. `seen`: the digest of the stops that its host has in force, and their lifts."""

    robot: _Name
    host: _Name = ""
    stops: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_STOPS)] = ()
    confirmed: bool = False
    latched: bool = False
    seen: _Name = ""
    message: _Text = ""


class Stops(msgspec.Struct, frozen=True, kw_only=True):
    """The stops and lifts that the sender knows, and some of the robots that stand still."""

    stops: Annotated[tuple[SiteStop, ...], msgspec.Meta(max_length=2 * MAX_STOPS)] = ()
    lifts: Annotated[tuple[Lift, ...], msgspec.Meta(max_length=4 * MAX_STOPS)] = ()
    held: Annotated[tuple[HeldRobot, ...], msgspec.Meta(max_length=DEFAULT.max_items)] = ()

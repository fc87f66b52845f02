"""The robots of each fleet on this machine, in a file: those that an emergency stop has to reach.

It is written when a fleet starts or is reloaded, into its runtime directory and its state
directory, so that it can be read while no process of the fleet runs.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from ...errors import FleetNotFoundError
from .runtime_dir import runtime_base, state_dir

FILE = "robots.json"


class KnownRobot(msgspec.Struct, frozen=True):
    """One robot. `wake` is the path of its driver's socket; "" where another machine, the `host` of
    the fleet file, drives it. That of a port's client (`is_client`) gets no chunks while a stop is
    in force, which does not reach it otherwise."""

    name: str
    wake: str = ""
    host: str = ""
    is_client: bool = False


class KnownRobots(msgspec.Struct, frozen=True, kw_only=True):
    """The robots of one fleet, those of other hosts too. `keyring` is the directory of its public
    keys, if it has keys."""

    fleet: str
    state_dir: str
    keyring: str | None = None
    robots: tuple[KnownRobot, ...] = ()


def write(known: KnownRobots, directory: Path) -> None:
    """Write the file into `directory`, whole or not at all. Raises OSError."""
    draft = directory / f".{FILE}.{os.getpid()}"
    draft.write_bytes(msgspec.json.encode(known))
    draft.replace(directory / FILE)


def read(directory: Path) -> KnownRobots | None:
    """What the file in `directory` says; None if there is none that can be read."""
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode((directory / FILE).read_bytes(), type=KnownRobots)
    return None


def find(fleet: str | None = None) -> list[KnownRobots]:
    """The fleets of this user on this machine: those that run, or if none does, those that ran;
    only the one called `fleet` if that is given. Raises FleetNotFoundError if there is none."""
    for base in (runtime_base(), state_dir("")):
        all_ = [read(path.parent) for path in sorted(base.glob(f"*/{FILE}"))]
        if found := [known for known in all_ if known and fleet in (None, known.fleet)]:
            return found
    which = "no fleet has" if fleet is None else f"no fleet {fleet!r} has"
    raise FleetNotFoundError(
        f"{which} run on this machine as this user, so there is nothing to stop: try on the "
        "robot's own host"
    )

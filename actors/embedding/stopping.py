"""The emergency stop from a program: what `actorctl estop` does."""

from __future__ import annotations

from pathlib import Path

from ... import arguments
from ..driver import emergency_stop as stopping
from ..driver.stop_outcome import StopOutcome
from ..runtime import robots_file
from ..supervision.guests import guests


def emergency_stop(
    *robots: str, fleet: str | None = None, why: str = "", by: str = ""
) -> list[StopOutcome]:
    """Stop `robots`, or without one all, of the fleets that run on this machine (or of `fleet`)
    until a person releases them, those too of other hosts and of scripts; what became of each,
    after about a second at most, or three where there are several hosts or scripts. The name of a
    session of openpi's or GR00T's clients, as `openpi/1`, is one too.

    Needs no other live process of the fleet for the robots of this machine. `by` is who does it,
    for the status; the user of this process if it is empty. Raises FleetNotFoundError, and
    ValueError for a name that no robot can have.
    """
    names = [arguments.name("robot", robot) for robot in robots]
    return stopping.stop(robots_file.find(fleet), names, by=by, why=why, guests=guests)


def release_emergency_stop(
    *robots: str, fleet: str | None = None, key: str | Path | None = None
) -> list[StopOutcome]:
    """Lift the emergency stop of `robots`; on a fleet with keys with `key`, the operator's secret
    key file. What became of each. A robot that is released may move at once.

    Raises FleetNotFoundError, KeyFileError, and ValueError for a name that no robot can have, and
    without a robot: all of them at once are not released by leaving out a name.
    """
    names = [arguments.name("robot", robot) for robot in robots]
    if not names:
        raise ValueError("release_emergency_stop() needs the names of robots, got none")
    secret = None
    if key is not None:
        from ..driver.operator_key import secret_of

        secret = secret_of(arguments.path("key", key))
    return stopping.release(robots_file.find(fleet), names, secret=secret, guests=guests)

"""`actorctl estop`: stop robots now, below everything else, and lift that stop again.

Imports little, because what it imports delays the stop.

Exit status: 0 every device has confirmed it (or every stop is lifted), 1 one has not, 2 refused.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ...actors.driver import emergency_stop
from ...actors.driver.stop_outcome import StopOutcome
from ...actors.runtime import robots_file
from ...actors.runtime.robots_file import KnownRobot, KnownRobots
from ...errors import FleetNotFoundError, KeyFileError

ABOUT = "Stop robots now, whatever else runs, until they are released."
_MORE = """\
The stop is latched in each robot's driver, below control, network, broker and supervisor: nothing
commands the robot until `actorctl estop --release`, also after restarts. Without names: all robots
of the site, those of scripts too, by way of its brokers; with --here those of this machine. Robots
of openpi's and GR00T's clients only get no more chunks. No substitute for the robot's own emergency
stop, which cuts its power.
"""


def main(words: Sequence[str]) -> int:
    """Carry out `actorctl estop WORDS`; the exit status."""
    given = _parser().parse_args(words)
    if given.release and not (given.robots or given.all):
        print("release whom? name the robots, or --all", file=sys.stderr)
        return 2
    began_s = time.monotonic()
    try:
        fleets = robots_file.find(given.fleet)
        if given.release:
            secret = None if given.key is None else _secret(given.key)
            outcomes = emergency_stop.release(fleets, given.robots, secret=secret, guests=_guests)
        else:
            outcomes = emergency_stop.stop(
                fleets, given.robots, why=given.why, here=given.here, guests=_guests
            )
    except (FleetNotFoundError, KeyFileError) as error:
        print(error, file=sys.stderr)
        return 2
    took_ms = (time.monotonic() - began_s) * 1000
    for outcome in outcomes:
        print(json.dumps(_plain(outcome)) if given.json else _line(outcome, given.release))
    if not outcomes:
        print("there are no robots", file=sys.stderr)
    elif not given.json:
        print(f"{sum(o.done for o in outcomes)} of {len(outcomes)} done in {took_ms:.0f} ms")
    return 0 if outcomes and all(outcome.done for outcome in outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("actorctl estop", description=ABOUT, epilog=_MORE)
    parser.add_argument("robots", nargs="*", metavar="ROBOT", help="names of robots, e.g. r1")
    parser.add_argument(
        "--all", action="store_true", help="all robots of the site, where --release is to lift all"
    )
    parser.add_argument("--here", action="store_true", help="stop robots of this machine only")
    parser.add_argument("--why", default="", metavar="TEXT", help="a reason, for the status")
    parser.add_argument("--release", action="store_true", help="lift the stop instead")
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="for --release on a fleet with keys: the operator's secret key file",
    )
    parser.add_argument("--fleet", metavar="NAME", help="only robots of this fleet")
    parser.add_argument("--json", action="store_true", help="print a line of JSON per robot")
    return parser


def _line(outcome: StopOutcome, releasing: bool) -> str:
    if releasing:
        state = "still stopped" if outcome.latched else "released"
    else:
        state = "latched" if outcome.latched else "NOT STOPPED"
        state += ", confirmed by the device" if outcome.confirmed else ""
    why = f": {outcome.message}" if outcome.message else ""
    if not outcome.robot:
        return f"{_of_site(outcome, releasing)}{why}"
    return f"{outcome.robot:<12} {state}{why}"


def _of_site(outcome: StopOutcome, releasing: bool) -> str:
    if releasing:
        return "the whole site is still stopped" if outcome.latched else "no stop is in force now"
    whole = "a stop of the whole site"
    return f"{whole} is in force" if outcome.latched else f"{whole} is NOT in force"


def _plain(outcome: StopOutcome) -> dict[str, object]:
    return {name: getattr(outcome, name) for name in outcome.__struct_fields__}


def _secret(file: Path) -> str:
    from ...actors.driver.operator_key import secret_of

    return secret_of(file)


def _guests(fleet: KnownRobots) -> Sequence[KnownRobot]:
    from ...actors.supervision.guests import guests

    return guests(fleet)

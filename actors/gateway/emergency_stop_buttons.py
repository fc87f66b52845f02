"""`EmergencyStopButtons`: the page's emergency stop. It goes straight to the robots' latches and
drivers, and needs no supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ...errors import RequestDeclinedError
from ..driver import emergency_stop
from ..driver.stop_outcome import StopOutcome
from ..runtime import robots_file
from ..supervision.guests import guests

BY = "the dashboard"


class EmergencyStopButtons:
    """Those of the fleet whose runtime directory is `rundir`."""

    def __init__(self, rundir: Path) -> None:
        self._rundir = rundir

    async def stop(self, robot: str | None) -> str:
        """Stop `robot`, or all if it is None; what was done, in a sentence. Raises
        RequestDeclinedError with what was not."""

        def stop() -> list[StopOutcome]:
            return emergency_stop.stop(self._fleets(), _names(robot), by=BY, guests=guests)

        return await _outcome(stop, "stopped, confirmed by the device")

    async def release(self, robot: str) -> str:
        """Lift the stop of `robot`, where that needs no key; as `stop` otherwise."""

        def release() -> list[StopOutcome]:
            return emergency_stop.release(self._fleets(), _names(robot), guests=guests)

        return await _outcome(release, "released")

    def _fleets(self) -> list[robots_file.KnownRobots]:
        return list(filter(None, [robots_file.read(self._rundir)]))


def _names(robot: str | None) -> list[str]:
    return [] if robot is None else [robot]


async def _outcome(act: Callable[[], list[StopOutcome]], done: str) -> str:
    outcomes = await asyncio.to_thread(act)
    if not outcomes:
        raise RequestDeclinedError("the fleet has no robots")
    wrong = [f"{each.robot or 'the site'}: {each.message}" for each in outcomes if not each.done]
    if not any(each.robot for each in outcomes) and not wrong:
        return "a stop of the whole site is in force"
    well = [each.robot for each in outcomes if each.done and each.robot]
    said = f"{', '.join(well)} {done}" if well else ""
    if wrong:
        raise RequestDeclinedError("; ".join([*wrong, *filter(None, [said])]))
    return said

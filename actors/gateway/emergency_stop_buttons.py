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

        return await _outcome(
            stop,
            "stopped, confirmed by the device",
            whole="a stop of the whole site is in force",
            none="the fleet has no robots",
        )

    async def release(self, robot: str | None) -> str:
        """Lift the stop of `robot`, or every stop of the site if it is None, where that needs no
        key; as `stop` otherwise."""

        def release() -> list[StopOutcome]:
            return emergency_stop.release(self._fleets(), _names(robot), guests=guests)

        return await _outcome(
            release,
            "released",
            whole="no stop is in force now",
            none="no stop is in force: another release was first",
        )

    def _fleets(self) -> list[robots_file.KnownRobots]:
        return list(filter(None, [robots_file.read(self._rundir)]))


def _names(robot: str | None) -> list[str]:
    return [] if robot is None else [robot]


async def _outcome(
    act: Callable[[], list[StopOutcome]], done: str, *, whole: str, none: str
) -> str:
    """`done` to which robots; `whole` where no robot is known. Raises RequestDeclinedError with
    `none` where there was nothing to do."""
    outcomes = await asyncio.to_thread(act)
    if not outcomes:
        raise RequestDeclinedError(none)
    wrong = [f"{each.robot or 'the site'}: {each.message}" for each in outcomes if not each.done]
    if not any(each.robot for each in outcomes) and not wrong:
        return whole
    well = [each.robot for each in outcomes if each.done and each.robot]
    said = f"{', '.join(well)} {done}" if well else ""
    if wrong:
        raise RequestDeclinedError("; ".join([*wrong, *filter(None, [said])]))
    return said

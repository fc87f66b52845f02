"""`LoopReport`: the state and the figures of a script's loop, for the script, broker and log."""

from __future__ import annotations

import logging

import msgspec

from ...transport.bodies import Vitals
from ...transport.stop_bodies import STOPPED
from ..control.command_source import CommandSource
from ..control.plan_memory import PlanMemory
from ..control.request_cycle import RequestCycle
from ..control.supply_state import SupplyState
from ..control.vitals import vitals
from .pacing import Pacing
from .script_stop import ScriptStop
from .worker import Worker

_log = logging.getLogger(__name__)


class LoopReport:
    """Of one robot, named `robot`, whose brokers are at `brokers`."""

    def __init__(
        self,
        robot: str,
        brokers: tuple[str, ...],
        plan: PlanMemory,
        cycle: RequestCycle,
        source: CommandSource,
        pacing: Pacing,
        worker: Worker,
        stop: ScriptStop,
    ) -> None:
        self._robot, self._brokers = robot, brokers
        self._plan, self._cycle, self._source = plan, cycle, source
        self._pacing, self._worker, self._stop = pacing, worker, stop
        self._logged: set[str] = set()

    @property
    def state(self) -> str:
        """The fail-safe's state, PAUSED or STOPPED."""
        if self._stop.why:
            return STOPPED
        return "PAUSED" if self._cycle.failsafe.paused else self._cycle.state.value

    @property
    def cause(self) -> str:
        """The reason, as far as the request cycle and the worker know it."""
        if self._worker.failure and not self._worker.alive and not self._worker.closed:
            return f"its network worker ended, and is started again: {self._worker.failure}"
        return self._cycle.reason

    @property
    def reason(self) -> str:
        """Who stopped it, or the cause, with the broker's address where there is no session."""
        if why := self._stop.why:
            return why
        cause = self.cause
        waits = not self._cycle.session.open and self._cycle.state is not SupplyState.DEAD
        if waits and not any(broker in cause for broker in self._brokers):
            return f"{cause}; the broker is {' or '.join(self._brokers)}"
        return cause

    def stats(self) -> Vitals:
        """The figures now."""
        pace = self._pacing.warning()
        found = vitals(
            self._plan,
            self._cycle,
            self._source,
            fps=self._pacing.hz,
            reason=self.reason,
            warnings=(pace,) if pace else (),
        )
        return msgspec.structs.replace(found, state=STOPPED) if self._stop.why else found

    def heartbeat(self) -> Vitals:
        """The figures for a heartbeat; what they warn of is logged, once."""
        found = self.stats()
        pace = self._pacing.warning()
        for text in found.warnings:
            key = "pace" if text == pace else text  # its figures change all the time
            if key not in self._logged:
                self._logged.add(key)
                _log.warning("robot %s: %s", self._robot, text)
        return found

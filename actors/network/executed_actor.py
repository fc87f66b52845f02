"""The executed-log actor: what a robot without a service executed, on disk.

Where a policy commands a robot, its network actor keeps this log; a robot that only a person moves
has no such actor. Reads shared memory and writes a file, and takes nothing from control.
"""

from __future__ import annotations

import select
import time

from ..runtime.actor import Actor
from ..runtime.executed_config import ExecutedConfig
from .executed_log import ExecutedLog

_DRAIN_S = 0.25
_REPORT_NS = 1_000_000_000


class ExecutedActor(Actor):
    """One robot's."""

    kind = "executed"
    Config = ExecutedConfig

    def setup(self) -> None:
        first = self.incarnation <= 1
        log = ExecutedLog.of(self.config, self.rundir, self.segment, first=first)
        assert log is not None, "the fleet has no such actor where nothing is kept"
        self._log = log
        self.resources.callback(log.close)

    def run(self) -> None:
        self.ready()
        report_ns = 0
        while not self.stopping:
            if select.select([self.link], [], [], _DRAIN_S)[0]:
                self.refuse_commands()
            self._log.drain()
            if time.monotonic_ns() >= report_ns:
                report_ns = time.monotonic_ns() + _REPORT_NS
                self.board.report({"evidence_lost": self._log.lost})
            self.board.progress()

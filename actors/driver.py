"""The world: what stands in for one simulated robot's surroundings, in real time.

It publishes the scene after every physics step and applies the newest command before it. It goes
on when control dies: the arm holds its last target and the belt runs. A world that is restarted
goes on from the scene it published last; the time it was dead did not pass for the cell.
"""

from __future__ import annotations

import select
import time

from ..robot.sim.simulation import World
from ..transport.seqlock import Seqlock, SteadyReader
from .runtime.actor import Actor
from .runtime.configs import DriverConfig

_REPORT_NS = 250_000_000


class DriverActor(Actor):
    """See the module."""

    kind = "world"
    Config = DriverConfig

    def setup(self) -> None:
        config: DriverConfig = self.config
        self._world = World(
            config.seed,
            commands=SteadyReader(self.segment(config.command)),
            scene=Seqlock.owned(self.segment(config.scene)),
        )

    def run(self) -> None:
        self.ready()
        report_at = 0
        while not self.stopping:
            now = time.monotonic_ns()
            self._world.advance(now)
            self.board.progress()
            if now >= report_at:
                self.board.report(self._status())
                report_at = now + _REPORT_NS
            rest_s = max(0.0, (self._world.next_ns - time.monotonic_ns()) / 1e9)
            # select, because it also wakes for the supervisor's word.
            if select.select([self.link], [], [], rest_s)[0]:
                self.refuse_commands()

    def _status(self) -> dict[str, object]:
        cell = self._world.cell
        return {
            "task": cell.task,
            "episode": cell.episode,
            "tried": cell.tried,
            "successes": cell.succeeded,
            "outcome": cell.outcome.name.lower(),
            "lost_steps": self._world.lost_steps,
            "refused_commands": self._world.refused_commands,
        }

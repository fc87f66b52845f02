"""A robot that is played, for tests of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any, cast

import msgspec
import numpy as np

from holdfast.actors.control.plan import Provenance
from holdfast.actors.control.tick_log import TickRecord
from holdfast.errors import ControlSocketError
from holdfast.tests.tools.evaluation.evaluations import plan
from holdfast.tools.evaluation.environment_attempts import EnvironmentAttempts
from holdfast.tools.evaluation.evaluation_plan import EvaluationPlan, Slot
from holdfast.tools.evaluation.robot_under_test import RobotSight, RobotUnderTest

SLOT = Slot(0, "r1", "better")


class PlayedRobot:
    """A robot of one joint. Its surroundings end an episode after ten ticks, as a success with the
    service `better`, but never with the one that is `stuck`; they begin one at a reset if it
    `begins`. `at_tick` is called with each tick's number in the episode. It is home a few looks
    after it was commanded so, if it `arrives`."""

    name, service = "r1", "own"
    rate_hz, action_names = 30.0, ("left_a",)

    def __init__(self, ends: bool = True) -> None:
        self.ends, self.used, self.stuck = ends, "own", ""
        self.resting = self.until = self.manual = False
        self.paused = self.recorded = self.gone = self.begins = False
        self.arrives, self.way = True, 0
        self.episode = self.number = self.tick = self.tried = self.successes = self.lost = 0
        self.incarnation = self.epoch = 1
        self.last_exit = ""
        self.commands: list[str] = []
        self.refuses: dict[str, str] = {}
        self.at_tick: Callable[[int], None] = lambda tick: None

    def sight(self, service: str | None = None) -> RobotSight:
        row = dict.fromkeys(
            ("stalled_ticks", "missed_ticks", "missed_ticks_machine", "stale_dropped"), 0
        )
        robot: dict[str, Any] = {**row, "refused_commands": {}, "epoch": self.epoch}
        self.way -= self.arrives and self.way > 0
        robot |= {"state": "STREAMING", "reason": "", "driver_gaps": 0, "moves": self.way > 0}
        actor: dict[str, Any] = {"state": "READY", "reason": "", "report": {"shm": True}}
        actor |= {"incarnation": self.incarnation, "last_exit": self.last_exit}
        judged = self.tried, self.successes
        return RobotSight(robot, {"r1/network": actor}, judged, self.begins)

    def command(self, verb: str, within_s: float = 60.0, **args: Any) -> dict[str, Any]:
        self.commands.append(verb)
        if verb in self.refuses:
            raise ControlSocketError(self.refuses[verb])
        if verb == "resume":
            self.resting, self.until = False, args.get("until") == "episode"
        if verb == "pause":
            self.resting, self.way = True, 0
        if verb == "go-to":
            self.resting, self.way = True, 3
        if verb == "reset":
            self._begin()
        return {"episode": self.episode}

    def use(self, service: str) -> None:
        self.command("use", service=service)
        if service != self.used:
            self.used, self.epoch = service, self.epoch + 1
            self.episode += 1

    def wait_ready(self, *_: Any) -> None:
        return

    def ticks(self) -> list[TickRecord]:
        if self.resting:
            return []
        self.tick += 1
        self.at_tick(self.tick)
        if self.ends and self.used != self.stuck and self.tick > 10:
            self.tried += 1
            self.successes += self.used == "better"
            self._begin()
            self.resting = self.until
        self.number += 1
        value = np.array([self.tick / 10], np.float32)
        origin = Provenance(self.epoch, 100 * self.episode + self.tick // 4, self.episode, 0)
        return [
            TickRecord(self.number, 0, 0, self.episode, value, value, origin, 0, True, self.manual)
        ]

    def latency_ms(self, began_at: float, ended_at: float) -> tuple[float, ...]:
        return (12.0,)

    def _begin(self) -> None:
        self.episode, self.tick = self.episode + 1, 0


def of_environment(robot: PlayedRobot, limit_s: float = 30.0) -> EnvironmentAttempts:
    return EnvironmentAttempts(as_robot(robot), limited_plan(limit_s), Event())


def as_robot(robot: PlayedRobot) -> RobotUnderTest:
    return cast("RobotUnderTest", robot)


def limited_plan(limit_s: float) -> EvaluationPlan:
    return msgspec.structs.replace(plan(2), time_limit_s=limit_s)

"""Episodes that the robot's surroundings begin, end and judge: a simulator, an environment.

Each episode begins with a reset of the robot, by which they begin one. Those that cannot begin one
when they are asked do so by themselves alone, some whether the robot is commanded or not. There the
robot is paused where one begins, goes over to the service of the next slot, and goes on. Where that
takes longer than `PROMPT_S`, or an episode was left in its middle, the robot plays on to where the
next one begins; that part is not evaluated.
"""

from __future__ import annotations

import time
from threading import Event

from ...actors.control.tick_log import TickRecord
from ...errors import ControlSocketError, EvaluationError
from .attempts import Attempts, Course
from .evaluation_plan import EvaluationPlan, Slot
from .robot_under_test import RobotSight, RobotUnderTest

PROMPT_S = 1.0
_POLL_S = 0.02
_LOOK_S = 0.5
_NEXT_S = 60.0
"""The least time that the surroundings have to come to their next episode."""

_COUNTED_S = 2.0
"""The driver reports how an episode ended before the next one is seen."""


class EnvironmentAttempts(Attempts):
    """Those of one robot whose driver counts episodes and successes."""

    def __init__(self, robot: RobotUnderTest, plan: EvaluationPlan, stop: Event) -> None:
        super().__init__(robot, plan, stop)
        self._began_s: float | None = None
        """When the surroundings began the episode in which the robot is paused; None if it is not
        at the beginning of one."""

    def prepare(self, slot: Slot) -> None:
        if self.robot.sight().begins:
            self.robot.use(slot.service)
            if self.plan.home:
                self.go_home()
            self.robot.command("reset")
        else:
            self._await(slot.service)

    def _await(self, service: str) -> None:
        """Be paused, with `service` in use, where the surroundings begin an episode."""
        if self._began_s is None:
            self.robot.use(self.robot.service)  # one that got stuck would not come to the end
            self._play_on()
        self.robot.use(service)
        assert self._began_s is not None
        if time.monotonic() - self._began_s > PROMPT_S:
            self._play_on()

    def go(self) -> int:
        self._began_s = None
        return int(self.robot.command("resume", until="episode")["episode"])

    def follow(self, course: Course, fresh: list[TickRecord], episode: int) -> None:
        if any(tick.episode > episode for tick in fresh):
            course.ended_by = "environment"
            self._began_s = time.monotonic()
        else:
            self.rest(_POLL_S)

    def conclude(self, course: Course, before: RobotSight) -> None:
        if course.ended_by != "environment":
            return
        assert before.judged is not None, "chosen for a robot whose driver counts"
        deadline_s = time.monotonic() + _COUNTED_S
        while time.monotonic() < deadline_s:
            judged = self.robot.sight().judged
            if judged is not None and judged[0] > before.judged[0]:
                course.success = judged[1] > before.judged[1]
                return
            self.rest(_POLL_S)
        course.reason = "nothing was commanded in it"

    def _play_on(self) -> None:
        """Play to where the surroundings begin an episode, and be paused there."""
        limit_s = max(2 * self.plan.time_limit_s, _NEXT_S)
        deadline_s = time.monotonic() + limit_s
        self.robot.ticks()
        episode = self.robot.command("resume", until="episode")["episode"]
        look_s = time.monotonic() + _LOOK_S
        while not any(tick.episode > episode for tick in self.robot.ticks()):
            self.rest(_POLL_S)
            now_s = time.monotonic()
            if now_s >= deadline_s:
                row = self.robot.sight().robot
                why = f"it is {row['state']}" + (f": {row['reason']}" if row["reason"] else "")
                raise EvaluationError(
                    f"the surroundings of {self.robot.name} have begun no episode within "
                    f"{limit_s:g} s; {why}"
                )
            if now_s >= look_s:
                look_s = now_s + _LOOK_S
                if unready := self.robot.sight().unready():
                    raise ControlSocketError(f"on the way to the next episode: {unready}")
        self._began_s = time.monotonic()

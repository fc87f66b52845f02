"""Episodes that a person begins and judges, by keys in the terminal: a real arm.

    space  the scene is ready: begin        y  success    n  failure    r  once more, not counted

The person is not told which service commands the robot until the report: a judgement that knows it
is not worth much. A robot with a recorder and no strategy of its own records the episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Protocol

from ...actors.control.tick_log import TickRecord
from ...errors import ControlSocketError
from .attempts import Attempts, Course
from .evaluation_plan import EvaluationPlan, Slot
from .robot_under_test import RobotSight, RobotUnderTest

_POLL_S = 0.05
_SAVED_S = 130.0
_BEGIN = (" ", "\n", "\r")
_VERDICTS = {"y": True, "n": False}


class PressedKeys(Protocol):
    """What a person presses: the keys of the next `within_s`, as soon as there are some."""

    def wait(self, within_s: float) -> str: ...


class PersonAttempts(Attempts):
    """Those of one robot. `say` shows the person what is wanted of them."""

    def __init__(
        self,
        robot: RobotUnderTest,
        plan: EvaluationPlan,
        stop: Event,
        keys: PressedKeys,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(robot, plan, stop)
        self._keys, self._say = keys, say

    def prepare(self, slot: Slot) -> None:
        self.robot.command("pause")
        if self.plan.home:
            self._say(f"{self.robot.name}: goes to its home pose")
            self.go_home()
        self._say(f"{self.robot.name}: put the scene in order, then press space")
        while not any(key in _BEGIN for key in self._pressed()):
            pass
        self.robot.use(slot.service)

    def go(self) -> int:
        episode = int(self.robot.command("reset")["episode"])
        if self.robot.recorded:
            self.robot.command("episode_start", episode=episode)
        self.robot.command("resume")
        self._say("y success, n failure, r once more")
        return episode

    def follow(self, course: Course, fresh: list[TickRecord], episode: int) -> None:
        self._judge(course, self._pressed())

    def conclude(self, course: Course, before: RobotSight) -> None:
        if course.ended_by == "time limit":
            self._say(f"{self.plan.time_limit_s:g} s are over: y, n or r?")
            course.ended_by = None
            while course.ended_by is None:
                self._judge(course, self._pressed())
        if self.robot.recorded:
            kept = course.ended_by == "person"
            with suppress(ControlSocketError):  # one in which nothing was commanded is not kept
                verb = "episode_stop" if kept else "episode_discard"
                args = {"success": course.success} if kept else {}
                self.robot.command(verb, _SAVED_S, **args)

    def _judge(self, course: Course, pressed: str) -> None:
        for key in pressed.lower():
            if key in _VERDICTS:
                course.ended_by, course.success = "person", _VERDICTS[key]
                return
            if key == "r":
                course.ended_by, course.reason = "repeat", "the person wanted it once more"
                return

    def _pressed(self) -> str:
        self.rest(0.0)
        return self._keys.wait(_POLL_S)

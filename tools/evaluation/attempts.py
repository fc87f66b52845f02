"""`Attempts`: one robot's episodes, one after the other, from the scene to the verdict.

A robot that begins an episode is paused, uses the service of its slot, and has nothing planned. An
episode in which an actor of it ended, its session was lost or a person took over is not valid: that
is no failure of the policy, and it comes again.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from ...actors.control.tick_log import TickRecord
from ...errors import ControlSocketError, EvaluationError, EvaluationStoppedError
from .evaluated_episode import End, EvaluatedEpisode, ExecutedSteps
from .evaluation_plan import EvaluationPlan, Slot
from .robot_under_test import RobotSight, RobotUnderTest

_LOOK_S = 0.5
"""Between two looks at the status, for faults."""
_HOME_S = 60.0
_HOME_LOOK_S = 0.1
_BACK_S = 60.0
"""How long the fleet may take to start again what ended."""


@dataclass
class Course:
    """How an episode went. `ended_by` is None while it goes on."""

    began_ns: int
    ended_by: End | None = None
    reason: str = ""
    success: bool = False
    ticks: list[TickRecord] = field(default_factory=list)


class Attempts(ABC):
    """Those of one robot. `stop` ends a wait of any kind by EvaluationStoppedError."""

    def __init__(self, robot: RobotUnderTest, plan: EvaluationPlan, stop: Event) -> None:
        self.robot, self.plan, self.stop = robot, plan, stop

    @abstractmethod
    def prepare(self, slot: Slot) -> None:
        """Get robot and scene ready for an episode, paused, with the slot's service in use."""

    @abstractmethod
    def go(self) -> int:
        """Let the policy command the robot; the robot's number of the episode."""

    @abstractmethod
    def follow(self, course: Course, fresh: list[TickRecord], episode: int) -> None:
        """Look, for a moment, how the episode goes on; sets `ended_by` at its end."""

    @abstractmethod
    def conclude(self, course: Course, before: RobotSight) -> None:
        """The episode is over and is to be judged; the robot is paused."""

    def run(self, slot: Slot) -> tuple[EvaluatedEpisode, ExecutedSteps | None]:
        """Do one episode. Raises EvaluationError where the evaluation cannot go on."""
        began_at = time.time()
        self.robot.wait_ready(slot.service, _BACK_S, self.rest)
        try:
            self.prepare(slot)
            return self._play(slot)
        except ControlSocketError as error:
            self._pause()
            failed = EvaluatedEpisode(
                slot=slot.number,
                robot=slot.robot,
                service=slot.service,
                began_at=began_at,
                length_s=time.time() - began_at,
                ended_by="fault",
                valid=False,
                reason=str(error),
            )
            return failed, None

    def rest(self, seconds: float) -> None:
        """Wait. Raises EvaluationStoppedError."""
        if self.stop.wait(seconds):
            raise EvaluationStoppedError("stopped")

    def go_home(self) -> None:
        """Bring the robot slowly to its home pose; it is paused there. Raises EvaluationError where
        it does not come there, and ControlSocketError."""
        self.robot.command("go-to")
        deadline_s = time.monotonic() + _HOME_S
        while (row := self.robot.sight().robot)["moves"]:
            self.rest(_HOME_LOOK_S)
            if time.monotonic() >= deadline_s:
                why = f": {row['reason']}" if row["reason"] else ""
                raise EvaluationError(f"{self.robot.name} is not home within {_HOME_S:g} s{why}")

    def _play(self, slot: Slot) -> tuple[EvaluatedEpisode, ExecutedSteps | None]:
        robot = self.robot
        before = robot.sight(slot.service)
        robot.ticks()  # those before
        lost = robot.lost
        began_at, began_s = time.time(), time.monotonic()
        episode = self.go()
        course = Course(time.monotonic_ns())
        look_s = began_s + _LOOK_S
        while course.ended_by is None:
            fresh = robot.ticks()
            own = [tick for tick in fresh if tick.episode == episode]
            course.ticks += own
            if any(tick.manual for tick in own):
                course.ended_by, course.reason = "fault", "a person took over"
            else:
                self.follow(course, fresh, episode)
            now_s = time.monotonic()
            if course.ended_by is None and now_s >= look_s:
                look_s = now_s + _LOOK_S
                if fault := robot.sight(slot.service).fault_since(before):
                    course.ended_by, course.reason = "fault", fault
            if course.ended_by is None and now_s - began_s >= self.plan.time_limit_s:
                course.ended_by = "time limit"
        length_s = time.monotonic() - began_s
        self._pause()
        if course.ended_by != "fault":
            self.conclude(course, before)
        after = robot.sight(slot.service)
        fault = course.reason if course.ended_by == "fault" else after.fault_since(before)
        valid = not fault and course.ended_by != "repeat"
        said = _difference(before.robot, after.robot)
        made = EvaluatedEpisode(
            slot=slot.number,
            robot=slot.robot,
            service=slot.service,
            began_at=began_at,
            length_s=round(length_s, 3),
            ended_by="fault" if fault else course.ended_by,
            valid=valid,
            reason=fault or course.reason,
            success=course.success and valid,
            latency_ms=robot.latency_ms(began_at, began_at + length_s),
            shm=bool((after.actors[f"{slot.robot}/network"]["report"] or {}).get("shm")),
            unseen=robot.lost - lost,
            **said,
        )
        steps = [tick for tick in course.ticks if tick.begins_step]
        kept = ExecutedSteps.of(robot.action_names, steps, robot.rate_hz)
        return made, kept if valid and len(kept.actions) else None

    def _pause(self) -> None:
        """What cannot be paused now has ended, or is so already."""
        with suppress(ControlSocketError):
            self.robot.command("pause")


_COUNTS = {
    "stalled": "stalled_ticks",
    "missed": "missed_ticks",
    "missed_machine": "missed_ticks_machine",
    "stale": "stale_dropped",
}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    found = {name: max(0, after[key] - before[key]) for name, key in _COUNTS.items()}
    refused = [sum(row["refused_commands"].values()) for row in (before, after)]
    return {**found, "refused": max(0, refused[1] - refused[0])}

"""`EvaluationRun`: the episodes of an evaluation, on one or several robots at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

from ...errors import ControlSocketError, EvaluationError, EvaluationStoppedError
from .attempts import Attempts
from .evaluated_episode import EvaluatedEpisode
from .evaluation_folder import EvaluationFolder
from .evaluation_plan import EvaluationPlan, Slot
from .robot_under_test import RobotUnderTest

MOST_INVALID = 5
"""In a row, of one slot: then something is wrong that repeating does not mend."""
_RESTORED_S = 20.0


class EvaluationRun:
    """What is still to be done in `folder`, by the `attempts` of each robot. Robots that their
    surroundings judge go on at once, those that a person judges one after the other."""

    def __init__(
        self,
        folder: EvaluationFolder,
        attempts: Mapping[str, Attempts],
        stop: Event,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._attempts, self._stop, self._say = folder, attempts, stop, say
        self._lock = Lock()
        self._slots = folder.ahead()
        self._total = len(folder.plan.slots())
        self._done = self._total - len(self._slots)
        self._successes = dict.fromkeys(folder.plan.services, 0)
        self._tried = dict.fromkeys(folder.plan.services, 0)
        for episode in folder.episodes():
            self._count(episode)

    def run(self) -> str:
        """Do the episodes; why it ended early, empty if it did not. Ctrl-C is an early end."""
        by_robot = {
            name: [slot for slot in self._slots if slot.robot == name] for name in self._attempts
        }
        courses = [self._slots] if self._folder.plan.judge == "person" else [*by_robot.values()]
        with ThreadPoolExecutor(len(courses)) as pool:
            waiting = [pool.submit(self._course, slots) for slots in courses]
            try:
                while not all(future.done() for future in waiting):
                    time.sleep(0.05)
            except KeyboardInterrupt:
                self._stop.set()
                return "interrupted"
        faults = [fault for future in waiting if (fault := future.exception())]
        for fault in faults:
            if not isinstance(fault, EvaluationError | ControlSocketError):
                raise fault
        real = [fault for fault in faults if not isinstance(fault, EvaluationStoppedError)]
        return "; ".join(map(str, real))

    def _course(self, slots: list[Slot]) -> None:
        try:
            for slot in slots:
                self._repeat(slot)
        except BaseException:
            self._stop.set()  # the other robots end too
            raise

    def _repeat(self, slot: Slot) -> None:
        """Attempts at one episode, until one is valid."""
        invalid = 0
        while True:
            episode, steps = self._attempts[slot.robot].run(slot)
            with self._lock:
                self._folder.add(episode, steps)
                self._count(episode)
                self._done += episode.valid
                self._say(self._line(episode))
            if episode.valid:
                return
            invalid += episode.ended_by != "repeat"
            if invalid == MOST_INVALID:
                raise EvaluationError(
                    f"{MOST_INVALID} attempts at one episode with {slot.service} on {slot.robot} "
                    f"were not valid, the last because {episode.reason}"
                )

    def _count(self, episode: EvaluatedEpisode) -> None:
        self._successes[episode.service] += episode.success
        self._tried[episode.service] += episode.valid

    def _line(self, episode: EvaluatedEpisode) -> str:
        """One line for a person. A person who judges does not learn which service it was."""
        blind = self._folder.plan.judge == "person"
        how = "success" if episode.success else "failure" if episode.valid else "not valid"
        words = [f"{self._done:>4}/{self._total}", episode.robot]
        words += [] if blind else [episode.service]
        words += [how, f"{episode.length_s:.1f} s"]
        if episode.reason:
            words.append(f"({episode.reason})")
        if not blind:
            tallies = (f"{s} {self._successes[s]} of {self._tried[s]}" for s in self._tried)
            words.append(f"[{', '.join(tallies)}]")
        return "  ".join(words)


def check(robot: RobotUnderTest, plan: EvaluationPlan) -> None:
    """Pause the robot, and see that each of the services accepts it, and that it can go home where
    that is wanted. Raises EvaluationError."""
    robot.wait_ready(robot.service, _RESTORED_S)
    try:
        robot.command("pause")
        if plan.home and plan.judge == "environment" and not robot.sight().begins:
            raise EvaluationError(
                f"{robot.name} cannot begin at its home pose: its surroundings begin episodes by "
                "themselves alone; give its driver a `begin_episode`, or leave out --home"
            )
        if plan.home:
            robot.command("go-to")  # refused where there is no home
            robot.command("pause")
        for service in plan.services:
            robot.use(service)
    except ControlSocketError as error:
        raise EvaluationError(f"{robot.name} cannot be evaluated: {error}") from error


def restore(robot: RobotUnderTest) -> str:
    """Have the robot as it was before the evaluation: its service, paused or not. Why that was not
    possible; empty if it was."""
    deadline_s = time.monotonic() + _RESTORED_S
    while not robot.gone:
        try:
            robot.command("pause")
            robot.use(robot.service)
            if not robot.paused:
                robot.command("resume")
            return ""
        except ControlSocketError as error:
            if time.monotonic() >= deadline_s:
                return (
                    f"{robot.name} could not be given back to service {robot.service!r}: {error}; "
                    f"`actorctl use {robot.name} {robot.service}`"
                )
            time.sleep(0.2)
    return ""

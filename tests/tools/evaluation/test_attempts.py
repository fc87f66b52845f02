"""Episodes of one robot, from the scene to the verdict, on a robot that is played."""

from __future__ import annotations

from collections import deque
from threading import Event

import msgspec
import pytest

from holdfast.errors import EvaluationError, EvaluationStoppedError
from holdfast.tests.tools.evaluation.played_robot import (
    SLOT,
    PlayedRobot,
    as_robot,
    limited_plan,
    of_environment,
)
from holdfast.tools.evaluation import attempts as evaluated_attempts
from holdfast.tools.evaluation import environment_attempts
from holdfast.tools.evaluation.environment_attempts import EnvironmentAttempts
from holdfast.tools.evaluation.person_attempts import PersonAttempts


class ScriptedKeys:
    """Each look finds the next of `keys`, empty if the person waits."""

    def __init__(self, *keys: str) -> None:
        self.keys = deque(keys)

    def wait(self, within_s: float) -> str:
        return self.keys.popleft() if self.keys else ""


def by_person(
    robot: PlayedRobot, *keys: str, limit_s: float = 30.0
) -> tuple[PersonAttempts, list[str]]:
    said: list[str] = []
    shown = ScriptedKeys(*keys)
    return PersonAttempts(as_robot(robot), limited_plan(limit_s), Event(), shown, said.append), said


def test_an_episode_of_the_surroundings_is_judged_by_them() -> None:
    """It is the whole one that begins after the service was changed; the next follows at once."""
    robot = PlayedRobot()
    attempts = of_environment(robot)
    won, steps = attempts.run(SLOT)
    assert (won.valid, won.success, won.ended_by) == (True, True, "environment")
    assert steps is not None and len(steps.actions) == 10 and len(set(steps.chunks)) == 3
    assert robot.used == "better" and won.latency_ms == (12.0,) and won.shm
    before, robot.commands = robot.tried, []
    lost, _ = attempts.run(SLOT._replace(number=1, service="worse"))
    assert (lost.valid, lost.success) == (True, False)
    assert robot.tried == before + 1, "no episode was played for nothing"
    assert robot.commands == ["use", "resume", "pause"]


def test_an_episode_that_does_not_end_is_a_failure_at_the_time_limit() -> None:
    """What is left of it is played by the robot's own service, before the next one."""
    robot = PlayedRobot()
    robot.stuck = "better"
    stuck, _ = of_environment(robot, limit_s=0.05).run(SLOT)
    assert (stuck.valid, stuck.success, stuck.ended_by) == (True, False, "time limit")
    assert robot.resting
    attempts, used = of_environment(robot), []
    robot.at_tick = lambda tick: used.append(robot.used)
    whole, steps = attempts.run(SLOT._replace(service="worse"))
    assert whole.valid and steps is not None and len(steps.actions) == 10
    assert list(dict.fromkeys(used)) == ["own", "worse"]


def test_a_change_that_took_too_long_waits_for_the_next_episode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Surroundings that do not wait have gone on meanwhile: no policy begins in the middle."""
    robot = PlayedRobot()
    attempts = of_environment(robot)
    attempts.run(SLOT)
    monkeypatch.setattr(environment_attempts, "PROMPT_S", -1.0)
    before = robot.tried
    whole, steps = attempts.run(SLOT)
    assert whole.success and steps is not None and len(steps.actions) == 10
    assert robot.tried == before + 2


def test_an_episode_that_surroundings_begin_when_asked_needs_no_other_before_it() -> None:
    """None is played for nothing, also after one that was left in its middle."""
    robot = PlayedRobot()
    robot.begins = True
    attempts = of_environment(robot, limit_s=0.05)
    robot.stuck = "better"
    assert attempts.run(SLOT)[0].ended_by == "time limit"
    robot.stuck, before, robot.commands = "", robot.tried, []
    whole, steps = of_environment(robot).run(SLOT)
    assert whole.success and steps is not None and len(steps.actions) == 10
    assert robot.tried == before + 1
    assert robot.commands == ["use", "reset", "resume", "pause"]


@pytest.mark.parametrize("judge", ["environment", "person"])
def test_the_robot_is_home_before_an_episode_begins(judge: str) -> None:
    """It is there before the scene is put in order, or is begun."""
    robot = PlayedRobot(ends=judge == "environment")
    robot.begins = True
    homed = msgspec.structs.replace(limited_plan(30.0), home=True)
    if judge == "person":
        keys = ScriptedKeys(" ", "y")
        episode, _ = PersonAttempts(as_robot(robot), homed, Event(), keys, print).run(SLOT)
    else:
        episode, _ = EnvironmentAttempts(as_robot(robot), homed, Event()).run(SLOT)
    assert episode.success and robot.way == 0
    moved = [verb for verb in robot.commands if verb in ("go-to", "reset", "resume")]
    assert moved == ["go-to", "reset", "resume"]


def test_a_robot_that_does_not_come_home_ends_the_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a while, with the robot's name."""
    monkeypatch.setattr(evaluated_attempts, "_HOME_S", 0.1)
    robot = PlayedRobot()
    robot.begins, robot.arrives = True, False
    homed = msgspec.structs.replace(limited_plan(30.0), home=True)
    with pytest.raises(EvaluationError, match="r1 is not home within"):
        EnvironmentAttempts(as_robot(robot), homed, Event()).run(SLOT)


@pytest.mark.parametrize("fault", ["kill", "session", "person"])
def test_an_episode_with_a_fault_is_not_valid(fault: str) -> None:
    """The reason says what happened; it is no failure of the policy."""
    robot = PlayedRobot()

    def at_tick(tick: int) -> None:
        if robot.used == "better" and robot.tick == 5:
            if fault == "kill":
                robot.incarnation, robot.last_exit = 2, "killed by SIGKILL"
            elif fault == "session":
                robot.epoch += 1
            else:
                robot.manual = True

    robot.at_tick = at_tick
    episode, steps = of_environment(robot).run(SLOT)
    assert (episode.valid, episode.success, steps) == (False, False, None)
    reasons = {"kill": "killed by SIGKILL", "session": "session ended", "person": "took over"}
    assert reasons[fault] in episode.reason


def test_a_command_that_is_not_answered_is_an_attempt_that_is_not_valid() -> None:
    """With the reason; the robot is paused if that is possible."""
    robot = PlayedRobot()
    robot.refuses = {"use": "r1/control exited before it answered"}
    episode, steps = of_environment(robot).run(SLOT)
    assert (episode.valid, steps) == (False, None)
    assert "exited before" in episode.reason and robot.commands[-1] == "pause"


@pytest.mark.parametrize(
    ("keys", "valid", "success", "ended_by"),
    [
        (("x", " ", "", "y"), True, True, "person"),
        (("\n", "", "", "N"), True, False, "person"),
        ((" ", "r"), False, False, "repeat"),
    ],
)
def test_a_person_begins_and_judges_by_keys(
    keys: tuple[str, ...], valid: bool, success: bool, ended_by: str
) -> None:
    """Keys of another meaning do nothing; which service it is, is not said."""
    attempts, said = by_person(PlayedRobot(ends=False), *keys)
    episode, _ = attempts.run(SLOT)
    assert (episode.valid, episode.success, episode.ended_by) == (valid, success, ended_by)
    assert "put the scene in order" in said[0] and not any("better" in line for line in said)


def test_a_person_judges_an_episode_that_the_time_limit_ends() -> None:
    """The robot is paused while the person is asked."""
    robot = PlayedRobot(ends=False)
    attempts, said = by_person(robot, " ", *([""] * 30000), "y", limit_s=0.05)
    episode, _ = attempts.run(SLOT)
    assert episode.success and robot.resting
    assert any("are over" in line for line in said)


def test_a_recorder_keeps_what_the_person_says() -> None:
    """An episode is recorded from its reset on, and dropped where it comes again."""
    robot = PlayedRobot(ends=False)
    robot.recorded = True
    by_person(robot, " ", "n")[0].run(SLOT)
    assert robot.commands[-5:] == ["reset", "episode_start", "resume", "pause", "episode_stop"]
    by_person(robot, " ", "r")[0].run(SLOT)
    assert robot.commands[-1] == "episode_discard"


def test_a_stop_ends_every_wait() -> None:
    """Of a person's key, and of the surroundings."""
    for attempts in (by_person(PlayedRobot())[0], of_environment(PlayedRobot(ends=False))):
        attempts.stop.set()
        with pytest.raises(EvaluationStoppedError):
            attempts.run(SLOT)

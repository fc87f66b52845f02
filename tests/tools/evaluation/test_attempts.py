"""Episodes of one robot, from the scene to the verdict, on a robot that is played."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from holdfast.actors.control.plan import Provenance
from holdfast.actors.control.tick_log import TickRecord
from holdfast.errors import ControlSocketError, EvaluationError, EvaluationStoppedError
from holdfast.tests.tools.evaluation.evaluations import plan
from holdfast.tools.evaluation import environment_attempts, evaluation_run
from holdfast.tools.evaluation.attempts import Attempts
from holdfast.tools.evaluation.environment_attempts import EnvironmentAttempts
from holdfast.tools.evaluation.evaluation_folder import EvaluationFolder
from holdfast.tools.evaluation.evaluation_plan import EvaluationPlan, Slot
from holdfast.tools.evaluation.evaluation_run import MOST_INVALID, EvaluationRun, check, restore
from holdfast.tools.evaluation.person_attempts import PersonAttempts
from holdfast.tools.evaluation.robot_under_test import RobotSight, RobotUnderTest

SLOT = Slot(0, "r1", "better")


class PlayedRobot:
    """A robot of one joint. Its surroundings end an episode after ten ticks, as a success with the
    service `better`, but never with the one that is `stuck`; `at_tick` is called with each tick's
    number in the episode."""

    name, service = "r1", "own"
    rate_hz, action_names = 30.0, ("left_a",)

    def __init__(self, ends: bool = True) -> None:
        self.ends, self.used, self.stuck = ends, "own", ""
        self.resting = self.until = self.manual = False
        self.paused = self.recorded = self.gone = False
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
        robot |= {"state": "STREAMING", "reason": "", "driver_gaps": 0, "moves": False}
        actor: dict[str, Any] = {"state": "READY", "reason": "", "report": {"shm": True}}
        actor |= {"incarnation": self.incarnation, "last_exit": self.last_exit}
        return RobotSight(robot, {"r1/network": actor}, (self.tried, self.successes))

    def command(self, verb: str, within_s: float = 10.0, **args: Any) -> dict[str, Any]:
        self.commands.append(verb)
        if verb in self.refuses:
            raise ControlSocketError(self.refuses[verb])
        if verb == "resume":
            self.resting, self.until = False, args.get("until") == "episode"
        if verb == "pause":
            self.resting = True
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


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to let an episode pass."""
    monkeypatch.setattr(environment_attempts, "PROMPT_S", 1e9)


class ScriptedKeys:
    """Each look finds the next of `keys`, empty if the person waits."""

    def __init__(self, *keys: str) -> None:
        self.keys = deque(keys)

    def wait(self, within_s: float) -> str:
        return self.keys.popleft() if self.keys else ""


def of_environment(robot: PlayedRobot, limit_s: float = 30.0) -> EnvironmentAttempts:
    return EnvironmentAttempts(_as_robot(robot), _plan(limit_s), Event())


def by_person(
    robot: PlayedRobot, *keys: str, limit_s: float = 30.0
) -> tuple[PersonAttempts, list[str]]:
    said: list[str] = []
    shown = ScriptedKeys(*keys)
    return PersonAttempts(_as_robot(robot), _plan(limit_s), Event(), shown, said.append), said


def _as_robot(robot: PlayedRobot) -> RobotUnderTest:
    return cast("RobotUnderTest", robot)


def _plan(limit_s: float) -> EvaluationPlan:
    return msgspec.structs.replace(plan(2), time_limit_s=limit_s)


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
    """The robot is paused meanwhile."""
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


def test_an_episode_that_is_never_valid_ends_the_evaluation(tmp_path: Any) -> None:
    """After five attempts, with the last one's reason; the lines say what was not valid."""
    robot = PlayedRobot()
    robot.refuses = {"use": "the network actor is away"}
    said: list[str] = []
    folder = EvaluationFolder.create(
        tmp_path / "e", msgspec.structs.replace(plan(1), robots=("r1",))
    )
    attempts: dict[str, Attempts] = {"r1": of_environment(robot)}
    why = EvaluationRun(folder, attempts, Event(), said.append).run()
    assert "the last because the network actor is away" in why
    assert len(said) == MOST_INVALID and "not valid" in said[0] and "0/2" in said[0]
    assert len(folder.ahead()) == 2


def test_a_run_does_what_is_ahead_and_no_more(tmp_path: Any) -> None:
    """One that was cut short goes on where it was."""
    small = msgspec.structs.replace(plan(3), robots=("r1",))
    folder = EvaluationFolder.create(tmp_path / "e", small)
    robot = PlayedRobot()
    first, steps = of_environment(robot).run(folder.plan.slots()[0])
    folder.add(first, steps)
    said: list[str] = []
    run = EvaluationRun(folder, {"r1": of_environment(robot)}, Event(), said.append)
    assert run.run() == "" and folder.ahead() == []
    assert [line.split()[0] for line in said] == [f"{n}/6" for n in range(2, 7)]
    assert {each.success for each in folder.episodes() if each.service == "better"} == {True}


def test_a_fault_that_repeating_does_not_mend_is_raised(tmp_path: Any) -> None:
    """An error of this program is not hidden behind a partial report."""
    robot = PlayedRobot()

    def broken(tick: int) -> None:
        raise ZeroDivisionError

    robot.at_tick = broken
    small = msgspec.structs.replace(plan(1), robots=("r1",))
    folder = EvaluationFolder.create(tmp_path / "e", small)
    with pytest.raises(ZeroDivisionError):
        EvaluationRun(folder, {"r1": of_environment(robot)}, Event(), print).run()
    assert not issubclass(ZeroDivisionError, EvaluationError)


def test_a_robot_is_given_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """To its own service, and paused if it was; if that is not possible, what to do is said."""
    robot = PlayedRobot()
    of_environment(robot).run(SLOT)
    assert restore(_as_robot(robot)) == ""
    assert robot.used == "own" and robot.commands[-3:] == ["pause", "use", "resume"]
    robot.paused = True
    assert restore(_as_robot(robot)) == "" and robot.commands[-1] == "use"
    monkeypatch.setattr(evaluation_run, "_RESTORED_S", 0.0)
    robot.refuses = {"use": "no replica serves 'own' now"}
    assert "no replica serves" in restore(_as_robot(robot))
    assert "`actorctl use r1 own`" in restore(_as_robot(robot))
    robot.gone = True
    assert restore(_as_robot(robot)) == "", "there is nothing to give back"


def test_a_service_that_refuses_the_robot_is_known_before_the_first_episode() -> None:
    """With the reason; the robot is paused meanwhile."""
    robot = PlayedRobot()
    check(_as_robot(robot), ("better", "worse"))
    assert robot.commands == ["pause", "use", "use"]
    robot.refuses = {"use": "fps: it is for 5 Hz"}
    with pytest.raises(EvaluationError, match="r1 cannot be evaluated: fps: it is for 5 Hz"):
        check(_as_robot(robot), ("better",))

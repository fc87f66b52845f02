"""The episodes of an evaluation one after the other, on a robot that is played."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import msgspec
import pytest

from holdfast.errors import EvaluationError
from holdfast.tests.tools.evaluation.evaluations import plan
from holdfast.tests.tools.evaluation.played_robot import SLOT, PlayedRobot, as_robot, of_environment
from holdfast.tools.evaluation import evaluation_run
from holdfast.tools.evaluation.attempts import Attempts
from holdfast.tools.evaluation.evaluation_folder import EvaluationFolder
from holdfast.tools.evaluation.evaluation_run import MOST_INVALID, EvaluationRun, check, restore


def test_an_episode_that_is_never_valid_ends_the_evaluation(tmp_path: Path) -> None:
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


def test_a_run_does_what_is_ahead_and_no_more(tmp_path: Path) -> None:
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


def test_a_fault_that_repeating_does_not_mend_is_raised(tmp_path: Path) -> None:
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
    assert restore(as_robot(robot)) == ""
    assert robot.used == "own" and robot.commands[-3:] == ["pause", "use", "resume"]
    robot.paused = True
    assert restore(as_robot(robot)) == "" and robot.commands[-1] == "use"
    monkeypatch.setattr(evaluation_run, "_RESTORED_S", 0.0)
    robot.refuses = {"use": "no replica serves 'own' now"}
    assert "no replica serves" in restore(as_robot(robot))
    assert "`actorctl use r1 own`" in restore(as_robot(robot))
    robot.gone = True
    assert restore(as_robot(robot)) == "", "there is nothing to give back"


def test_a_service_that_refuses_the_robot_is_known_before_the_first_episode() -> None:
    """With the reason; the robot is paused meanwhile."""
    robot = PlayedRobot()
    check(as_robot(robot), plan(1))
    assert robot.commands == ["pause", "use", "use"]
    robot.refuses = {"use": "fps: it is for 5 Hz"}
    with pytest.raises(EvaluationError, match="r1 cannot be evaluated: fps: it is for 5 Hz"):
        check(as_robot(robot), plan(1, against=None))


@pytest.mark.parametrize("judge", ["environment", "person"])
def test_a_robot_that_cannot_go_home_is_refused_before_the_first_episode(judge: str) -> None:
    """With its reason; nothing was moved."""
    homed = msgspec.structs.replace(plan(1), home=True, judge=judge)
    robot = PlayedRobot()
    robot.begins = True
    check(as_robot(robot), homed)
    assert robot.way == 0 and robot.resting
    robot.refuses = {"go-to": "its driver names no home pose"}
    with pytest.raises(EvaluationError, match="names no home pose"):
        check(as_robot(robot), homed)


def test_surroundings_that_begin_at_their_own_pace_do_so_in_the_pose_that_there_is() -> None:
    """To go home would be of no use: it is refused with what the driver lacks."""
    homed = msgspec.structs.replace(plan(1), home=True)
    with pytest.raises(EvaluationError, match="begin_episode"):
        check(as_robot(PlayedRobot()), homed)
    check(as_robot(PlayedRobot()), msgspec.structs.replace(homed, judge="person"))

"""The replay driver: a recorded episode in a robot's place."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from holdfast.errors import RobotError
from holdfast.robot.base import ControlMode, Episode
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.replay_robot import ReplayRobot
from holdfast.tests.robot.dataset import recordings
from holdfast.tests.waiting import wait_until

PERIOD_NS = round(1e9 / 30)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two episodes with two cameras each."""
    path = tmp_path_factory.mktemp("replay") / "data"
    recordings.dataset(path)
    return path


class Played(ReplayRobot):
    """A connected one, read as a driver's process reads it."""

    def __init__(self, root: Path, episode: int = 1, *, loop: bool = False) -> None:
        super().__init__(str(root), episode, loop)
        self.connect()

    def state(self) -> tuple[int, list[float]]:
        out = np.zeros(3, np.float32)
        return self.read_state(out), out.tolist()

    def command(self, *action: float) -> None:
        self.write_action(np.array(action, np.float32))


def test_the_spec_and_the_cameras_are_the_datasets(root: Path) -> None:
    """Names, no limits, and the cameras without their prefix, before anything is connected."""
    robot = ReplayRobot(str(root), 0, control_mode="velocity")
    assert robot.spec.action_names == ("x", "y") == robot.spec.unlimited
    assert robot.spec.state_names == ("x", "y", "yaw")
    assert robot.spec.control_mode is ControlMode.VELOCITY
    assert robot.cameras == ("top", "wrist")


def test_states_and_pictures_are_the_recorded_ones_on_the_grid_of_the_episode(root: Path) -> None:
    """From the first command on in real time: frame k at k periods; the last one stays."""
    episode = Dataset(root).episode(1)
    states = [tuple(state) for state in episode.states.tolist()]
    films = {name: list(episode.frames(f"observation.images.{name}")) for name in ("top", "wrist")}
    shapes = {"top": (48, 64, 3), "wrist": (32, 32, 3)}
    robot = Played(root)
    for _ in range(2):  # it waits for a command
        before_ns = time.monotonic_ns()
        instant_ns, state = robot.state()
        assert tuple(state) == states[0]
        assert before_ns - PERIOD_NS < instant_ns <= time.monotonic_ns()
    robot.command(0, 0)
    began_ns = time.monotonic_ns()
    seen: dict[int, int] = {}
    last_ns = 0

    def ended() -> bool:
        nonlocal last_ns
        instant_ns, state = robot.state()
        assert last_ns <= instant_ns <= time.monotonic_ns()
        last_ns = instant_ns
        index = robot.report()["frame"]
        assert tuple(state) == states[index]
        for name, shape in shapes.items():
            out = np.zeros(shape, np.uint8)
            captured_ns = robot.read_frame(name, out)
            assert captured_ns in {None, instant_ns}
            assert captured_ns is None or (out == films[name][index]).all()
        if not robot.report()["ended"]:
            seen.setdefault(index, instant_ns)
        return bool(robot.report()["ended"])

    wait_until(ended, "the episode ends")
    assert time.monotonic_ns() - began_ns > 7 * PERIOD_NS
    for index, instant_ns in seen.items():
        assert abs(instant_ns - seen[0] - index * PERIOD_NS) < 1_000_000 or 0 not in seen
    assert robot.report()["frame"] == 7 and robot.episode() == Episode(1, "task 1")


def test_a_loop_begins_the_episode_again_as_the_next_one(root: Path) -> None:
    """Its number counts up, its pictures begin anew, and its instants go on rising."""
    first = next(Dataset(root).episode(0).frames("observation.images.top"))
    robot = Played(root, 0, loop=True)
    before_ns, _ = robot.state()
    robot.command(0, 0)

    def again() -> bool:
        nonlocal before_ns
        instant_ns, _ = robot.state()
        assert instant_ns >= before_ns
        before_ns = instant_ns
        robot.read_frame("top", out := np.zeros((48, 64, 3), np.uint8))
        return robot.episode().number == 3 and bool((out == first).all())

    wait_until(again, "the third round begins")
    assert not robot.report()["ended"] and robot.episode().task == "task 0"


def test_an_episode_that_is_begun_anew_waits_at_its_first_frame_for_a_command(root: Path) -> None:
    """In its middle and after its end: next number, first state and picture, later instants."""
    states = Dataset(root).episode(1).states
    first = next(Dataset(root).episode(1).frames("observation.images.top"))
    robot = Played(root)
    assert robot.begins_episodes
    before_ns, _ = robot.state()
    for number, what in ((2, "frame"), (3, "ended")):

        def reached(what: str = what) -> bool:
            robot.state()
            return bool(robot.report()[what])

        robot.command(0, 0)
        wait_until(reached, "it is under way, or over")
        robot.read_frame("top", np.zeros((48, 64, 3), np.uint8))
        robot.begin_episode()
        for _ in range(2):  # it waits for a command
            instant_ns, state = robot.state()
            assert before_ns <= instant_ns <= time.monotonic_ns()
            before_ns = instant_ns
            assert state == states[0].tolist() and not robot.report()["ended"]
        assert robot.episode() == Episode(number, "task 1")
        robot.read_frame("top", out := np.zeros((48, 64, 3), np.uint8))
        assert (out == first).all()
    assert robot.report()["commands"] == 2


def test_what_is_commanded_is_compared_with_the_recorded_action_of_the_frame(root: Path) -> None:
    """The mean and the largest difference by action; after the end nothing is compared."""
    actions = Dataset(root).episode(1).actions
    robot = Played(root)
    robot.state()
    robot.command(*(actions[0] + [0.5, 0.0]))
    robot.command(*(actions[0] - [1.0, 0.0]))
    said = robot.report()
    assert said["commands"] == 2
    assert said["difference"]["x"] == pytest.approx({"mean": 0.75, "max": 1.0}, abs=1e-6)
    assert said["difference"]["y"] == pytest.approx({"mean": 0.0, "max": 0.0}, abs=1e-6)
    wait_until(lambda: robot.state() and robot.report()["ended"], "the end")
    robot.command(100, 100)
    assert robot.report()["commands"] == 2


def test_a_camera_of_another_size_says_which_one_was_recorded(root: Path) -> None:
    """Pictures are not scaled."""
    robot = Played(root)
    robot.state()
    with pytest.raises(RobotError, match="width: 64, height: 48"):
        robot.read_frame("top", np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("number", [2, -1])
def test_an_episode_that_is_not_there_is_refused_with_how_many_there_are(
    root: Path, number: int
) -> None:
    """The same for a directory that is no dataset."""
    with pytest.raises(RobotError, match=f"no episode {number}: it has 2"):
        ReplayRobot(str(root), number)
    with pytest.raises(RobotError, match="no such directory"):
        ReplayRobot(str(root / "nothing"))


def test_missing_packages_are_named_with_how_to_install_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra `data` is not a part of every installation."""
    for name in list(sys.modules):
        if name.startswith("holdfast.robot.dataset"):
            monkeypatch.delitem(sys.modules, name)
    parent = sys.modules["holdfast.robot"]
    monkeypatch.delattr(parent, "dataset", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RobotError, match=r"pyarrow.*pip install 'holdfast\[data\]'"):
        ReplayRobot(str(root))

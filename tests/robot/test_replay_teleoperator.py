"""Recorded actions in a person's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.errors import RobotError
from holdfast.robot import replay_teleoperator
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.replay_teleoperator import SETTLE_S, ReplayTeleoperator
from holdfast.tests.robot.dataset import recordings

SPEC = RobotSpec(("y", "x"), ("y", "x"))
NOWHERE = np.full(2, np.nan, np.float32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two episodes whose actions are x, y at 30 per second."""
    path = tmp_path_factory.mktemp("replay") / "data"
    recordings.dataset(path)
    return path


class Clock:
    """In the place of `time`."""

    now_s = 1.0

    def monotonic_ns(self) -> int:
        return round(self.now_s * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(replay_teleoperator, "time", made)
    return made


def replayer(spec: RobotSpec = SPEC, fps: float = 30.0, **rename: str) -> ReplayTeleoperator:
    return ReplayTeleoperator(spec, fps, rename)


def says(device: ReplayTeleoperator) -> tuple[int, np.ndarray]:
    out = np.zeros(2, np.float32)
    return device.get_action(out), out


@pytest.mark.parametrize("speed", [1.0, 0.5])
def test_the_actions_come_in_their_time_after_the_take_over_and_the_last_one_stays(
    root: Path, clock: Clock, speed: float
) -> None:
    """In the robot's order; before the take-over, and until the pose went over, the first one."""
    actions = Dataset(root).episode(1).actions[:, ::-1]
    device = replayer()
    pose = device.load(str(root), 1, speed)
    assert list(pose) == ["y", "x"]
    assert list(pose.values()) == pytest.approx(actions[0].tolist())
    device.locate(NOWHERE, in_command=False)
    clock.now_s = 5.0
    assert (says(device)[1] == actions[0]).all()
    device.locate(NOWHERE, in_command=True)
    for frame in (-1.0, 0.0, 1.0, 2.5, 7.0, 30.0):
        clock.now_s = 5.0 + SETTLE_S + frame / (30 * speed)
        device.locate(NOWHERE, in_command=True)
        instant_ns, action = says(device)
        place = min(max(frame, 0.0), 7.0)
        before, after = actions[int(place)], actions[min(int(place) + 1, 7)]
        expected = before + (after - before) * (place % 1)
        assert action == pytest.approx(expected, abs=1e-4) and instant_ns == clock.monotonic_ns()
    assert device.progress() == {"frame": 8, "frames": 8, "over": True}
    clock.now_s = 5.0 + SETTLE_S + 7.0 / (30 * speed) + 0.01
    assert device.progress() == {"frame": 8, "frames": 8, "over": False}  # not yet on the robot


def test_an_episode_is_played_once_and_without_one_it_is_silent(root: Path, clock: Clock) -> None:
    """Silence has the instant 0; while one is played no other is loaded."""
    device = replayer()
    assert says(device)[0] == 0 and not device.progress()["over"]
    device.load(str(root), 0)
    device.locate(NOWHERE, in_command=True)
    assert says(device)[0] == clock.monotonic_ns()
    with pytest.raises(RobotError, match="is being played"):
        device.load(str(root), 1)
    device.locate(NOWHERE, in_command=False)
    assert says(device)[0] == 0


def test_a_recorded_name_that_is_renamed_is_the_robots(root: Path) -> None:
    """`rename` maps recorded names to the robot's."""
    device = replayer(RobotSpec(("a", "b"), ("a", "b")), x="a", y="b")
    first = Dataset(root).episode(0).actions[0]
    assert list(device.load(str(root), 0).values()) == pytest.approx(first.tolist())


@pytest.mark.parametrize(
    ("made", "asked", "said"),
    [
        ({"spec": RobotSpec(("a", "x"), ("a", "x"))}, {}, "are x, y; the robot's are a, x"),
        ({"fps": 50.0}, {}, "has 30 actions per second, the robot takes 50"),
        ({"spec": RobotSpec(("y", "x"), (), lower=(5, 5), upper=(6, 6))}, {}, "frame 0 .*range 5"),
        ({}, {"episode": 7}, "no episode 7: it has 2"),
        ({}, {"speed": 2.0}, "speed 2: expected"),
        ({}, {"speed": float("nan")}, "speed nan: expected"),
    ],
)
def test_what_does_not_fit_the_robot_is_refused_with_both_sides(
    root: Path, made: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    """Other names, another rate, actions beyond the range; nothing is loaded then."""
    device = replayer(**made)
    with pytest.raises(RobotError, match=said):
        device.load(str(root), **{"episode": 0, **asked})
    assert device.progress()["frames"] == 0


def test_a_robot_that_is_commanded_by_velocities_is_refused() -> None:
    """It has no pose to begin at."""
    with pytest.raises(RobotError, match="velocities"):
        replayer(RobotSpec(("y", "x"), (), ControlMode.VELOCITY))

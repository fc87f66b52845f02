"""The Gymnasium driver, with environments of these tests."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import RobotError
from holdfast.robot import gym
from holdfast.robot.gym import GymRobot

STEPS = 5


class Point(gymnasium.Env[dict[str, Any], np.ndarray]):
    """A point that goes where it is told; an episode has STEPS steps and succeeds above 0.5."""

    def __init__(self, render_mode: str | None = None, raises_at: int = -1) -> None:
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 200}
        self.observation_space = spaces.Dict(
            {
                "agent": spaces.Dict({"pos.xy": spaces.Box(-1, 1, (2,), np.float32)}),
                "goal": spaces.Box(-1, 1, (1,), np.float64),
                "top": spaces.Box(0, 255, (4, 6, 3), np.uint8),
            }
        )
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.render_mode = render_mode
        self.raises_at = raises_at
        self.taken: list[np.ndarray] = []
        self.place = np.zeros(2, np.float32)
        self.n = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.n, self.place = 0, np.zeros(2, np.float32)
        return self.observation(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.n += 1
        if self.n == self.raises_at:
            raise FloatingPointError("the physics diverged")
        self.taken.append(action.copy())
        self.place = action
        done = self.n == STEPS
        info = {"is_success": done and action[0] > 0.5}
        return self.observation(), float(action[0]), done, False, info

    def observation(self) -> dict[str, Any]:
        picture = np.full((4, 6, 3), self.n, np.uint8)
        return {"agent": {"pos.xy": self.place}, "goal": np.array([0.25]), "top": picture}

    def render(self) -> Any:
        return np.full((8, 8, 3), 200, np.uint8)


gymnasium.register("holdfast-tests/Point-v0", f"{__name__}:Point", disable_env_checker=True)
NAME = "holdfast-tests/Point-v0"


class Clock:
    """Stands in for the module `time`: an environment waits for a command that is late, and the
    machine may be."""

    now_ns = 10**12

    def monotonic_ns(self) -> int:
        return self.now_ns


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym, "time", CLOCK)


def tick(robot: GymRobot, action: list[float] | None) -> np.ndarray:
    """One period: command, wait it out, read."""
    if action is not None:
        robot.write_action(np.array(action, np.float32))
    assert robot.period_s is not None
    CLOCK.now_ns += round(robot.period_s * 1e9)
    out = np.zeros(len(robot.spec.state_names), np.float32)
    robot.read_state(out)
    return out


def test_an_environments_spaces_give_the_names_and_the_range() -> None:
    """Nested vectors are the state by their keys, pictures are cameras, the Box is the range."""
    robot = GymRobot(NAME)
    assert list(robot.spec.action_names) == ["action_0", "action_1"]
    assert list(robot.spec.state_names) == ["agent.pos.xy_0", "agent.pos.xy_1", "goal_0"]
    assert (list(robot.spec.lower), list(robot.spec.upper)) == ([-1, -1], [1, 1])
    assert list(robot.cameras) == ["top"]
    assert robot.period_s == pytest.approx(1 / 200)


def test_options_name_the_state_the_actions_and_the_cameras() -> None:
    """What the options name replaces what the environment calls it, in their order."""
    robot = GymRobot(
        NAME,
        image_keys={"scene": "render", "front": "top"},
        state_keys=["goal", "agent.pos.xy"],
        action_names=["x", "y"],
        state_names=["goal", "x", "y"],
    )
    robot.connect()
    assert list(robot.spec.action_names) == ["x", "y"]
    state = tick(robot, [0.5, -0.5])
    np.testing.assert_allclose(state, [0.25, 0.5, -0.5])
    frame = np.zeros((8, 8, 3), np.uint8)
    assert robot.read_frame("scene", frame) is not None
    assert (frame == 200).all()
    assert robot.read_frame("scene", frame) is None, "one frame per step"


@given(st.lists(st.sampled_from([0.25, 0.75]), min_size=1, max_size=3))
@settings(max_examples=8, deadline=None)
def test_episodes_and_successes_are_counted(aims: list[float]) -> None:
    """Each episode of STEPS commands is tried once, and a success is what `info` says."""
    robot = GymRobot(NAME)
    robot.connect()
    number = robot.episode().number
    for aim in aims:
        for _ in range(STEPS):
            tick(robot, [aim, 0])
    report = robot.report()
    assert report["tried"] == len(aims) == robot.episode().number - number
    assert report["successes"] == sum(aim > 0.5 for aim in aims)


def test_an_episode_that_is_broken_off_is_not_counted_and_the_next_one_is_whole() -> None:
    """It begins at its first step, whatever was commanded before."""
    robot = GymRobot(NAME)
    robot.connect()
    number = robot.episode().number
    tick(robot, [0.75, 0])
    robot.begin_episode()
    assert robot.begins_episodes and robot.episode().number == number + 1
    assert (robot.report()["tried"], robot.report()["steps"]) == (0, 0)
    for _ in range(STEPS):
        assert robot.report()["tried"] == 0
        tick(robot, [0.75, 0])
    assert (robot.report()["tried"], robot.report()["successes"]) == (1, 1)


def test_an_environment_waits_while_it_is_not_commanded() -> None:
    """Its state is measured at each reading; one command lasts for a few steps."""
    robot = GymRobot(NAME)
    robot.connect()
    state = np.zeros(3, np.float32)
    first_ns = robot.read_state(state)
    tick(robot, None)
    assert robot.read_state(state) > first_ns
    assert robot.report()["steps"] == 0
    tick(robot, [0.5, 0])
    for _ in range(20):
        tick(robot, None)
    assert 1 <= robot.report()["steps"] <= 4
    robot.hold()
    steps = robot.report()["steps"]
    tick(robot, None)
    assert robot.report()["steps"] == steps


def test_a_reward_threshold_counts_as_success() -> None:
    """`success_reward` decides by the last reward, whatever `info` says."""
    robot = GymRobot(NAME, success_reward=0.2)
    robot.connect()
    for _ in range(STEPS):
        tick(robot, [0.25, 0])
    assert robot.report()["successes"] == 1


def test_a_step_that_raises_is_a_robot_error_and_the_next_connect_begins_anew() -> None:
    """What the environment raises is said; the driver's reconnect resets it."""
    robot = GymRobot(NAME, kwargs={"raises_at": 2})
    robot.connect()
    tick(robot, [0, 0])
    with pytest.raises(RobotError, match="the physics diverged"):
        tick(robot, [0, 0])
    robot.close()
    robot.connect()
    assert tick(robot, [0.5, 0])[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id": "Nowhere-v0"}, "Nowhere"),
        ({"id": NAME, "module": "no_such_package"}, "pip install no-such-package"),
        ({"id": NAME, "state_keys": ["velocity"]}, "'velocity' is no vector.*'goal'"),
        ({"id": NAME, "image_keys": {"top": "wrist"}}, "top names 'wrist'.*'top'"),
        ({"id": NAME, "action_names": ["x"]}, "1 given .x., the environment has 2"),
        ({"id": NAME, "kwargs": {"colour": 1}}, "colour"),
    ],
)
def test_wrong_options_say_what_the_environment_has(options: dict[str, Any], message: str) -> None:
    """Each wrong option is a RobotError that names what there is."""
    with pytest.raises(RobotError, match=message):
        GymRobot(**options)


def test_a_frame_of_another_size_says_which_size_the_camera_gives() -> None:
    """A camera entry of the wrong size is refused with the right one."""
    robot = GymRobot(NAME)
    robot.connect()
    with pytest.raises(RobotError, match=r"gives 6x4.*says 640x480.*width: 6, height: 4"):
        robot.read_frame("top", np.zeros((480, 640, 3), np.uint8))

"""The cell in real time, and the drivers in front of it."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import RobotError
from holdfast.robot.sim import SPEC, scene
from holdfast.robot.sim.arm import PHYSICS_HZ
from holdfast.robot.sim.cell import ConveyorCell
from holdfast.robot.sim.devices import SimCamera, SimRobot
from holdfast.robot.sim.expert import Expert
from holdfast.robot.sim.simulation import MAX_CATCH_UP_S, World

SECOND = 1_000_000_000


class Latest:
    """What a register is to the simulator."""

    def __init__(self) -> None:
        self.value: bytes | None = None

    def read(self) -> bytes | None:
        return self.value

    def write(self, value: bytes) -> None:
        self.value = bytes(value)


def world_at(start_ns: int = 0, seed: int = 0) -> tuple[World, Latest]:
    """A world that has begun, and its scene."""
    published = Latest()
    world = World(seed, published)
    world.advance(start_ns)
    return world, published


class Clock:
    """What the robot takes for the time."""

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def robot_at(
    now_ns: int = 0, seed: int = 0, published: Latest | None = None
) -> tuple[SimRobot, Clock, Latest]:
    """A connected robot, its clock and its scene."""
    clock, published = Clock(now_ns), published or Latest()
    robot = SimRobot(seed, published, clock)
    robot.connect()
    return robot, clock, published


def truth(published: Latest) -> scene.Scene:
    assert published.value is not None
    return scene.unpack(published.value)


def drive(robot: SimRobot, clock: Clock, published: Latest, episodes: int) -> None:
    """The expert through the driver, in simulated time, until `episodes` have ended."""
    expert, state = Expert(), np.empty(7, np.float32)
    until = truth(published).episode + episodes
    while truth(published).episode < until:
        assert published.value is not None
        robot.write_action(expert.act(ConveyorCell.from_scene(published.value)))
        clock.now_ns += SECOND // 30
        robot.read_state(state)


gaps_ns = st.integers(0, 500).map(lambda n: n * SECOND // 10_007)  # on no grid


@given(st.lists(gaps_ns, min_size=1, max_size=60), st.integers(0, 2**60))
def test_the_world_keeps_pace_however_it_is_called(gaps: list[int], start: int) -> None:
    """As many steps as time has passed, on a fixed grid, never one ahead of the clock."""
    world, published = world_at(start)
    now_ns, period = start, SECOND // PHYSICS_HZ + 1
    for gap in gaps:
        now_ns += gap
        world.advance(now_ns)
        assert truth(published).steps == (now_ns - start) * PHYSICS_HZ // SECOND
        assert 0 <= now_ns - truth(published).instant_ns <= period
        assert now_ns < world.next_ns <= now_ns + period
    assert world.lost_steps == 0


def test_a_world_that_was_paused_catches_up_a_bounded_number_of_steps() -> None:
    """The rest is counted as lost, and then it keeps its pace."""
    world, published = world_at()
    hour = 3600 * SECOND
    assert world.advance(hour) == int(MAX_CATCH_UP_S * PHYSICS_HZ)
    assert world.lost_steps == 3600 * PHYSICS_HZ - int(MAX_CATCH_UP_S * PHYSICS_HZ)
    assert truth(published).instant_ns == hour
    assert world.advance(hour + SECOND // 30 + 1) == 4


def test_the_arm_holds_and_the_belt_goes_on_when_control_is_silent() -> None:
    """The last command stays; parcels ride and episodes pass."""
    robot, clock, published = robot_at()
    target, state = np.array([0.1, -0.1, 0.2, 0.3, 0.5], np.float32), np.empty(7, np.float32)
    robot.write_action(target)
    for tick in range(1, 600):
        clock.now_ns = tick * SECOND // 30
        robot.read_state(state)
    last = truth(published)
    np.testing.assert_allclose(last.position, target, atol=1e-6)
    assert last.tried == 1 and last.episode > 2 and last.succeeded == 0 and last.travel > 0.5


def test_a_restarted_robot_resumes_from_the_last_scene() -> None:
    """Episode, counters, arm and parcels go on; the seed is not begun anew."""
    robot, clock, published = robot_at(seed=4)
    drive(robot, clock, published, 3)
    before = truth(published)
    assert (before.tried, before.succeeded, before.episode) == (3, 3, 4)
    assert robot.report()["successes"] == 3
    restarted, later, _ = robot_at(clock.now_ns, 999, published)
    after = truth(published)
    after.instant_ns = before.instant_ns
    assert after == before
    drive(restarted, later, published, 2)
    assert (truth(published).tried, truth(published).seed) == (5, 4)


def test_an_action_that_is_no_number_leaves_the_arm_its_target() -> None:
    """What gets past every limit is refused by the cell."""
    robot, _, published = robot_at()
    target = truth(published).target
    with pytest.raises(ValueError, match="5 finite numbers"):
        robot.write_action(np.array([0, 0, np.nan, 0, 0], np.float32))
    assert truth(published).target == target


def test_a_robot_reads_state_instant_and_episode_of_one_scene() -> None:
    """They are those of the latest scene, which the cameras see too."""
    published, clock = Latest(), Clock(5 * SECOND)
    robot = SimRobot(2, published, clock)
    assert (robot.episode(), robot.report()) == (None, {})
    robot.connect()
    state = np.empty(len(SPEC.state_names), np.float32)
    clock.now_ns += SECOND // 30
    assert robot.read_state(state) == truth(published).instant_ns
    assert published.value is not None
    np.testing.assert_array_equal(state, ConveyorCell.from_scene(published.value).state())
    first = robot.episode()
    assert first is not None and (first.number, first.task) == (1, truth(published).task)
    assert robot.episode() is first
    drive(robot, clock, published, 1)
    second = robot.episode()
    assert second is not None and (second.number, second.task) == (2, truth(published).task)


def test_a_robot_that_is_not_connected_says_so() -> None:
    """There is no cell before `connect`, and nothing to bring to rest."""
    robot = SimRobot()
    with pytest.raises(RobotError, match="call connect"):
        robot.read_state(np.empty(7, np.float32))
    assert robot.safe_stop()


def test_a_camera_without_a_scene_is_an_error_in_bounded_time() -> None:
    """It says what it waited for and what to look at."""
    start = time.monotonic()
    with pytest.raises(RobotError, match=r"no scene within .* \(actorctl status\)"):
        SimCamera("wrist", Latest(), timeout_s=0.05).open()
    assert time.monotonic() - start < 60
    with pytest.raises(RobotError, match="overhead, wrist"):
        SimCamera("nose", Latest())


def test_a_safe_stop_raises_the_arm_and_brings_it_home_slowly() -> None:
    """No faster than its limits, no farther than home, and it says when it is there."""
    robot, clock, published = robot_at()
    state = np.empty(len(SPEC.state_names), np.float32)
    robot.write_action(np.array([0.33, -0.2, 0.01, 0.5, 0.4], np.float32))
    for _ in range(90):
        clock.now_ns += SECOND // 30
        robot.read_state(state)
    last = np.array(truth(published).position)
    for _ in range(300):
        stopped = robot.safe_stop()
        clock.now_ns += SECOND // 30
        robot.read_state(state)
        here = np.array(truth(published).position)
        assert (np.abs(here - last)[:3] * 30 < 0.25).all()
        if here[2] < 0.08:
            assert np.allclose(here[:2], [0.33, -0.2], atol=0.01)
        last = here
        if stopped:
            break
    assert stopped
    assert SPEC.home is not None
    np.testing.assert_allclose(last[:4], SPEC.home[:4], atol=0.05)
    assert last[4] == pytest.approx(0.4, abs=1e-3)


def test_a_camera_keeps_its_pace_and_stamps_the_scene_instant() -> None:
    """Frames come no faster than asked for; a late reader gets no burst."""
    _, published = world_at(12345)
    camera = SimCamera("overhead", published, fps=50, timeout_s=60.0)
    out = np.zeros((480, 640, 3), np.uint8)
    before = time.monotonic()
    camera.open()
    assert camera.read(out) == 12345 and out.any()
    for _ in range(9):
        camera.read(out)
    assert time.monotonic() - before >= 9 / 50
    time.sleep(0.1)  # being late is what is tested
    start = time.monotonic()
    for _ in range(3):
        camera.read(out)
    assert time.monotonic() - start >= 1 / 50
    camera.close()


def test_a_camera_shows_every_frame_with_fresh_noise() -> None:
    """Also of a scene that stands still."""
    _, published = world_at(1)
    camera = SimCamera("wrist", published, fps=200, timeout_s=60.0)
    camera.open()
    frames = [np.zeros((480, 640, 3), np.uint8) for _ in range(2)]
    for frame in frames:
        camera.read(frame)
    assert not np.array_equal(frames[0], frames[1])


def test_a_camera_of_a_dead_world_fails_until_there_is_a_new_scene() -> None:
    """Neither `read` nor `open` takes the scene that the dead world left."""
    world, published = world_at(1)
    camera = SimCamera("wrist", published, fps=200, timeout_s=0.1)
    out = np.zeros((480, 640, 3), np.uint8)
    camera.open()
    deadline_s = time.monotonic() + 60
    with pytest.raises(RobotError, match="no scene within"):
        while time.monotonic() < deadline_s:
            camera.read(out)
    camera.close()
    with pytest.raises(RobotError, match="no scene within"):
        camera.open()
    world.advance(SECOND)
    camera.open()
    assert camera.read(out) == truth(published).instant_ns

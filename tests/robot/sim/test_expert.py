"""The scripted expert: it does the task, from anywhere, and can be imitated."""

import numpy as np
import pytest

from holdfast.robot.sim import CONTROL_HZ, SPEC
from holdfast.robot.sim.cell import ConveyorCell
from holdfast.robot.sim.expert import Expert
from holdfast.robot.sim.rollout import rollout
from holdfast.robot.sim.task import Outcome


def test_the_expert_succeeds_in_almost_all_episodes() -> None:
    """At least 98 % of 300 seeded episodes, each a few seconds long."""
    tried = succeeded = ticks = 0
    for seed in range(6):
        cell, expert = ConveyorCell(seed), Expert()
        while cell.tried < 50:
            cell.step_control(expert.act(cell))
            ticks += 1
        tried, succeeded = tried + cell.tried, succeeded + cell.succeeded
    assert succeeded / tried >= 0.98
    assert 2.0 < ticks / tried / CONTROL_HZ < 9.0


def test_the_expert_recovers_from_perturbed_states() -> None:
    """Pushed to random places every second or so, it succeeds in at least 80 % of 60 episodes."""
    rng = np.random.default_rng(0)
    cell, expert = ConveyorCell(11), Expert()
    while cell.tried < 60:
        for _ in range(int(rng.integers(20, 60))):
            cell.step_control(expert.act(cell))
        kick = expert.act(cell) + rng.normal(0, (0.05, 0.05, 0.03, 0.3, 0.1))
        for _ in range(6):
            cell.step_control(kick)
    assert cell.succeeded / cell.tried >= 0.8


def test_the_expert_lets_go_of_the_wrong_parcel() -> None:
    """Found with another parcel in the fingers, it releases it over the belt and goes on."""
    cell, expert = ConveyorCell(5), Expert()
    while cell.truth.held < 0:
        cell.step_control(expert.act(cell))
    scene = cell.truth
    scene.colour = next(
        p.colour for p in sorted(scene.parcels, key=lambda p: -p.along) if p.colour != scene.colour
    )
    while cell.tried < 1:
        cell.step_control(expert.act(cell))
    assert cell.outcome is Outcome.PLACED


def test_the_action_depends_on_the_state_alone() -> None:
    """An expert that has seen all and one that has seen nothing agree at every tick."""
    cell, old = ConveyorCell(2), Expert()
    for _ in range(300):
        action = old.act(cell)
        np.testing.assert_array_equal(action, Expert().act(ConveyorCell.from_scene(cell.scene())))
        cell.step_control(action)


def test_a_chunk_is_what_the_expert_then_does() -> None:
    """Step by step the same actions, up to the episode's end; the cell it started from is left."""
    cell, expert = ConveyorCell(9), Expert()
    for _ in range(6):
        before = cell.scene()
        chunk = expert.chunk(cell, 30)
        assert chunk.shape == (30, 5) and chunk.dtype == np.float32
        assert cell.scene() == before
        episode = cell.episode
        for action in chunk:
            if cell.episode != episode:
                break
            np.testing.assert_array_equal(action, expert.act(cell))
            cell.step_control(action)


def test_a_chunk_ends_with_its_episode() -> None:
    """The next task is unknown when the chunk is made: past the end the last action repeats."""
    cell, expert = ConveyorCell(9), Expert()
    chunk = expert.chunk(cell, 400)
    length = 0
    while cell.episode == 1:
        cell.step_control(chunk[length])
        length += 1
    assert 30 < length < 400
    np.testing.assert_array_equal(
        chunk[length:], np.broadcast_to(chunk[length - 1], (400 - length, 5))
    )


def test_the_expert_keeps_well_within_the_limits() -> None:
    """No command is outside the ranges, and none steps by more than half the permitted rate."""
    cell, expert = ConveyorCell(12), Expert()
    last, episode = None, 1
    allowed = np.array(SPEC.max_rate) / CONTROL_HZ / 2
    while cell.tried < 40:
        action = expert.act(cell)
        assert (action >= SPEC.lower).all() and (action <= SPEC.upper).all()
        if last is not None and episode == cell.episode:
            assert (abs(action - last) <= allowed).all()
        last, episode = action, cell.episode
        cell.step_control(action)


def test_a_parcel_out_of_sight_makes_no_difference() -> None:
    """What the cameras cannot see yet must not steer the demonstrations."""
    cell, expert = ConveyorCell(0), Expert()
    scene = cell.truth
    index = next(i for i, p in enumerate(scene.parcels) if p.colour == scene.colour)
    actions = []
    for x, yaw in ((-0.1, 0.5), (0.1, -0.5)):
        scene.parcels[index] = scene.parcels[index]._replace(
            x=x, along=scene.travel + 0.40, yaw=yaw
        )
        actions.append(expert.act(cell))
    np.testing.assert_array_equal(actions[0], actions[1])


@pytest.mark.parametrize(("delay_steps", "low", "high"), [(0, 0.98, 1.0), (15, 0.0, 0.2)])
def test_a_plan_played_late_misses_the_parcel(delay_steps: int, low: float, high: float) -> None:
    """The expert's own chunks fail when they are played half a second late, untrimmed."""
    expert = Expert()
    tally = rollout(
        lambda cell, prefix, delay: expert.chunk(cell, 30),
        ConveyorCell(3),
        episodes=40,
        replan_steps=15,
        delay_steps=delay_steps,
        trim=False,
    )
    assert low <= tally.success <= high


def test_a_late_plan_that_is_trimmed_succeeds() -> None:
    """The same delay costs a foreseeing policy little when the expired actions are skipped."""
    expert = Expert()
    tally = rollout(
        lambda cell, prefix, delay: expert.chunk(cell, 40),
        ConveyorCell(3),
        episodes=40,
        replan_steps=20,
        delay_steps=15,
    )
    assert tally.success >= 0.9


def test_a_rollout_offers_the_rest_of_the_plan() -> None:
    """The planner gets as prefix exactly the actions that are played until its chunk arrives."""
    expert = Expert()
    played: list[np.ndarray | None] = []
    offered: list[tuple[int, np.ndarray]] = []

    class Recorded(ConveyorCell):
        def step_control(self, action: np.ndarray | None = None) -> None:
            played.append(action)
            super().step_control(action)

    def plan(cell: ConveyorCell, prefix: np.ndarray, delay: int) -> np.ndarray:
        offered.append((len(played), prefix[:delay].copy()))
        return expert.chunk(cell.copy(), 40)

    tally = rollout(plan, Recorded(4), episodes=3, replan_steps=12, delay_steps=4)
    assert tally.episodes == 3 and tally.ticks == len(played)
    assert tally.held_ticks == sum(action is None for action in played)
    checked = 0
    for at, prefix in offered:
        if len(prefix) and all(a is not None for a in played[at : at + 4]):
            following = [a for a in played[at : at + len(prefix)] if a is not None]
            checked += np.array_equal(prefix[: len(following)], following)
    # Not where an episode begins: nothing is offered, or what the one before left is not played.
    assert len(offered) > 20 and checked >= len(offered) - tally.episodes

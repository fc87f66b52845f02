"""Evaluation, and what the shipped policies are worth."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from holdfast.policy.base import CameraFeature, Chunk, Observation
from holdfast.policy.checkpoint import FILES, read_config, resolve, shipped
from holdfast.policy.kinds import load_policy
from holdfast.robot.sim import SPEC
from holdfast.robot.sim.cell import ConveyorCell
from holdfast.robot.sim.draw import CAMERAS
from holdfast.robot.sim.task import Outcome
from holdfast.tests.tools.training.small_pi_trainings import tiny
from holdfast.tests.tools.training.train_commands import invoked
from holdfast.tools.training.episode_windows import fake_windows
from holdfast.tools.training.evaluate import Planner, Success, evaluate, main, one_core
from holdfast.tools.training.pi_batches import PiBatches
from holdfast.tools.training.pi_config import sized
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_check import fake_spec

one_core()

LARGEST = 10_000_000
SLOWEST_S = 0.060


def test_the_confidence_interval_is_wilsons() -> None:
    """It equals published values and stays within 0 to 1."""
    success = Success(Counter({Outcome.PLACED: 95, Outcome.MISSED: 5}))
    assert success.interval == pytest.approx((0.8882, 0.9785), abs=1e-4)
    for placed in (0, 7):
        low, high = Success(Counter({Outcome.PLACED: placed, Outcome.MISSED: 7 - placed})).interval
        assert 0.0 <= low < high <= 1.0
    assert Success().interval == (0.0, 1.0)


def test_a_policy_that_does_nothing_never_succeeds() -> None:
    """Every episode is counted, and none as a success."""
    *_, success = evaluate(load_policy("constant", "conveyor-flow"), 3)
    assert (success.succeeded, success.tried) == (0, 3)
    assert "0.0% of 3 episodes" in str(success)


class Recorder:
    """The constant policy, remembering what it was asked."""

    def __init__(self) -> None:
        self.policy = load_policy("shape-only", "conveyor-flow")
        self.spec, self.checkpoint_hash = self.policy.spec, self.policy.checkpoint_hash
        self.asked: list[Observation] = []
        self.given: list[Chunk] = []

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        self.asked += batch
        chunks = self.policy.predict_chunk(batch)
        self.given += chunks
        return chunks


def test_a_request_has_the_rest_of_the_plan_in_both_spaces() -> None:
    """The prefix is the end of the last chunk, with the delay."""
    recorder, cell = Recorder(), ConveyorCell(0)
    planner = Planner(recorder)
    planner(cell, np.empty((0, 5), np.float32), 4)
    left = recorder.given[0].robot[-20:]
    planner(cell, left, 4)
    first, second = recorder.asked
    assert first.prefix is None and first.seed != second.seed
    assert second.prefix is not None and second.prefix_robot is not None
    np.testing.assert_array_equal(second.prefix, recorder.given[0].model[-20:])
    np.testing.assert_array_equal(second.prefix_robot, left)
    assert second.delay_steps == 4


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_checkpoint_is_small_fast_and_has_its_training_command(name: str) -> None:
    """At most 10 MB, at most 60 ms a chunk on one core, and the command in its README."""
    directory, config = resolve(name), read_config(name)
    assert sum((directory / file).stat().st_size for file in FILES) <= LARGEST
    assert f"--config {name}" in config.training["command"]
    assert config.training["command"] in (directory / "README.md").read_text()
    policy = load_policy(config.kind, name)
    observation, took_s = policy.spec.example(), []
    for _ in range(30):
        began_s = time.process_time()
        policy.predict_chunk([observation])
        took_s.append(time.process_time() - began_s)
    assert min(took_s) <= SLOWEST_S


@pytest.mark.parametrize(("replan_steps", "delay_steps"), [(24, 0), (12, 8)])
def test_the_shipped_flow_policy_does_the_task(replan_steps: int, delay_steps: int) -> None:
    """At least 10 of 12 episodes succeed, also when chunks arrive 8 ticks late."""
    policy = load_policy("flow", "conveyor-flow")
    *_, success = evaluate(policy, 12, replan_steps=replan_steps, delay_steps=delay_steps)
    assert success.succeeded >= 10, str(success)


def test_a_checkpoint_of_pi0_is_evaluated_by_the_command(tmp_path: Path) -> None:
    """An untrained one has its attempt, which is no success."""
    config = tiny("pi0", image_width=16, image_height=16, chunk_size=24)
    cameras = tuple(CameraFeature(name, width=16, height=16) for name in CAMERAS)
    spec = msgspec.structs.replace(
        fake_spec(config),
        cameras=cameras,
        state_names=SPEC.state_names,
        action_names=SPEC.action_names,
    )
    sized_for = sized(config)
    Trainer(sized_for, PiBatches(sized_for, spec, fake_windows(spec))).save(tmp_path)
    done = invoked(main, str(tmp_path), "--episodes", "1", "--prefix", "none", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["tried"], found["succeeded"]) == (1, 0)

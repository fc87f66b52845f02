"""The expert's demonstrations of the one task, as a LeRobotDataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.recording_schema import RecordingSchema, Row
from holdfast.robot.sim import SPEC
from holdfast.robot.sim.draw import draw
from holdfast.robot.sim.expert import Expert
from holdfast.robot.sim.task import Outcome
from holdfast.tests.e2e.one_task_cell import CAMERA, FPS, SIDE, OneTaskCell

SHAKEN = (0.003, 0.003, 0.002, 0.0, 0.0)
"""Deviation, by axis, of what is added to the arm's disturbance in each tick."""
LOWEST, HIGHEST = (-0.20, -0.20, 0.03), (0.20, 0.28, 0.18)
"""Where the arm may begin: x, y and z."""


class DemonstrationCell(OneTaskCell):
    """The same cell, in which the arm begins every second attempt at a random place.

    Where all attempts begin at the bin, in which the last one ended, the policy goes to the right
    by what the arm's position is, and does so wherever the parcel is."""

    __slots__ = ()

    def _begin(self) -> None:
        super()._begin()
        scene = self._scene
        if scene.episode % 2:
            rng = np.random.default_rng((scene.seed, scene.episode, 2))
            scene.position = [*map(float, rng.uniform(LOWEST, HIGHEST)), 0.0, 1.0]
            scene.target = list(scene.position)


def demonstrate(root: Path, episodes: int, seed: int) -> int:
    """Record `episodes` attempts of the expert; return how many succeeded.

    In two of three the arm is disturbed, and what is recorded is the expert's action in each state
    that this leads to (DART, arXiv 1703.09327)."""
    schema = RecordingSchema(
        FPS, SPEC.state_names, SPEC.action_names, {CAMERA: (SIDE, SIDE)}, "sim"
    )
    writer, cell, expert = DatasetWriter(root, "cell", schema), DemonstrationCell(seed), Expert()
    rng = np.random.default_rng(seed)
    placed = 0
    for number in range(episodes):
        recording, episode, disturbance = writer.begin(), cell.episode, np.zeros(len(SHAKEN))
        while cell.episode == episode:
            frame = len(recording)
            picture = draw(CAMERA, cell.scene(), SIDE, SIDE, frame)
            action = expert.act(cell)
            recording.add(Row(cell.state(), action, cell.task, images={CAMERA: (picture, frame)}))
            if number % 3:
                disturbance = 0.9 * disturbance + rng.normal(0, SHAKEN)
            cell.step_control(action + disturbance)
        success = cell.outcome is Outcome.PLACED
        placed += success
        writer.commit(recording, success=success)
    writer.close()
    return placed

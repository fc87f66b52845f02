"""Demonstrations: the scripted expert with disturbances, labelled by the expert without them.

The arm executes the expert's plans with flaws (after DART, arXiv 1703.09327), so that it reaches
the states to which a learned policy's errors lead, while every label is the expert's action from
there. Each observation has one label per possible delay: first the executed actions, then the
expert's from the state they lead to. That is the current plan and its best continuation, for prefix
conditioning.

A dataset is a directory of shards of .npy files, one shard per seed, and dataset.json. The same
seeds give the same bytes; a shard is complete or absent.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from multiprocessing_logging import (
    MultiProcessingHandler,
    install_mp_handler,
    uninstall_mp_handler,
)
from numpy.typing import NDArray

from ...policy.base import CameraFeature
from ...robot.sim import SPEC
from ...robot.sim.cell import ConveyorCell, place_of
from ...robot.sim.draw import draw, sight
from ...robot.sim.expert import VISIBLE_Y, Expert
from ...transport.images import resize

LABEL_EVERY = 3
"""Ticks between labels, and between the delays of the labels of an observation."""

FIRST_SEED = 1_000_000
"""The first seed of demonstrations; evaluation starts at 0, so that no scene is in both."""

AUXILIARY = ("target_x", "target_y", "target_yaw", "offset_x", "offset_y", "in_view")
AUXILIARY_SCALE = np.array((0.1, 0.2, 0.5, 0.1, 0.2, 1.0), np.float32)

logger = logging.getLogger(__name__)


class DatasetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is rendered and labelled. Two datasets of the same config and seeds are the same."""

    cameras: tuple[CameraFeature, ...]
    chunk_size: int = 48
    max_prefix_steps: int = 24
    observe_every: int = 6
    episodes_per_seed: int = 4


@dataclass(frozen=True)
class Demonstrations:
    """A dataset in memory, N observations.

    `images[camera]` uint8 [N, h, w, 3], `state` [N, S], `task` [N] indexes `tasks`; `chunks`
    [N, D, H, A] with one label per delay 0, 3, 6, ... and `counts` [N, D], the number of its steps
    before the episode's end; `auxiliary` [N, X] true places, `visible` [N] whether the target is in
    view; `sights` [N, C, 2] the position of the task's parcel in each image (-1 to 1 across and
    down; beyond that it is outside).
    """

    images: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    task: NDArray[np.int64]
    tasks: tuple[str, ...]
    chunks: NDArray[np.float32]
    counts: NDArray[np.int64]
    auxiliary: NDArray[np.float32]
    visible: NDArray[np.bool_]
    sights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.state)


class FlawedPlans:
    """The expert's plans with the errors of a policy, each executed open loop for some steps.

    A plan is displaced and drifts, its gripper moves too early or too late, and sometimes the arm
    does not move. Some episodes have no errors.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.level = float(rng.choice((0.0, 0.7, 1.2, 2.0)))
        self.plan = np.zeros((0, len(SPEC.action_names)), np.float32)
        self.played = 0

    def next(self, expert: Expert, cell: ConveyorCell) -> NDArray[np.float32]:
        """The action of this tick."""
        if self.played == len(self.plan):
            self.plan, self.played = self._spoil(expert.chunk(cell, 48)), 0
        action: NDArray[np.float32] = self.plan[self.played]
        self.played += 1
        return action

    def _spoil(self, plan: NDArray[np.float32]) -> NDArray[np.float32]:
        rng, wild = self.rng, self.level * (4.0 if self.rng.random() < 0.12 else 1.0)
        displaced = wild * rng.normal(0, (0.004, 0.004, 0.004, 0.04, 0))
        drift = wild * rng.normal(0, (0.012, 0.012, 0.008, 0.10, 0))
        spoiled = plan + displaced + drift * np.linspace(0, 1, len(plan))[:, None]
        late_steps = round(float(rng.normal(0, 1.5 * wild)))
        step = np.clip(np.arange(len(plan)) - late_steps, 0, len(plan) - 1)
        spoiled[:, 4] = plan[step, 4]
        if rng.random() < 0.05 * self.level:
            spoiled[:] = spoiled[0]
        length = int(rng.integers(6, 37))
        limited: NDArray[np.float32] = np.clip(spoiled, SPEC.lower, SPEC.upper).astype(np.float32)
        return limited[:length]


def demonstrate(config: DatasetConfig, seed: int) -> dict[str, NDArray[Any]]:
    """The arrays of one shard: consecutive episodes in one cell, as a fleet runs them."""
    rng = np.random.default_rng((seed, 7))
    cell, expert = ConveyorCell(seed), Expert()
    rows: list[dict[str, Any]] = []
    for _ in range(config.episodes_per_seed):
        rows += _episode(config, cell, expert, rng)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _episode(
    config: DatasetConfig, cell: ConveyorCell, expert: Expert, rng: np.random.Generator
) -> list[dict[str, Any]]:
    plans, episode, tick = FlawedPlans(rng), cell.episode, 0
    executed: list[NDArray[np.float32]] = []
    labels: list[tuple[NDArray[np.float32], int]] = []
    rows: list[tuple[int, dict[str, Any]]] = []
    phase = LABEL_EVERY * int(rng.integers(config.observe_every // LABEL_EVERY))
    while cell.episode == episode:
        if tick % LABEL_EVERY == 0:
            labels.append(_label(expert, cell, config.chunk_size))
            if tick % config.observe_every == phase:
                rows.append((tick, _observe(config, cell, tick)))
        executed.append(plans.next(expert, cell))
        cell.step_control(executed[-1])
        tick += 1
    done = np.stack(executed)
    for observed, row in rows:
        row["chunks"], row["counts"] = _labels_by_delay(config, done, labels, observed)
    return [row for _, row in rows]


def _label(expert: Expert, cell: ConveyorCell, steps: int) -> tuple[NDArray[np.float32], int]:
    """The expert's actions from here, and how many of them precede the episode's end."""
    future, actions = cell.copy(), np.empty((steps, 5), np.float32)
    for i in range(steps):
        actions[i] = expert.act(future)
        future.step_control(actions[i])
        if future.episode != cell.episode:
            actions[i + 1 :] = actions[i]
            return actions, i + 1
    return actions, steps


def _labels_by_delay(
    config: DatasetConfig,
    done: NDArray[np.float32],
    labels: list[tuple[NDArray[np.float32], int]],
    tick: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """For each delay the actions executed until then and the expert's from there, and the number of
    steps that count: none for a delay past the end of the episode."""
    steps = config.chunk_size
    delays = range(0, config.max_prefix_steps + 1, LABEL_EVERY)
    chunks = np.zeros((len(delays), steps, done.shape[1]), np.float32)
    counts = np.zeros(len(delays), np.int64)
    for i, delay in enumerate(delays):
        if tick + delay < len(done):
            label, valid = labels[(tick + delay) // LABEL_EVERY]
            chunks[i, :delay] = done[tick : tick + delay]
            chunks[i, delay:] = label[: steps - delay]
            counts[i] = min(steps, delay + valid)
    return chunks, counts


def _observe(config: DatasetConfig, cell: ConveyorCell, tick: int) -> dict[str, Any]:
    block, scene = cell.scene(), cell.truth
    target = next(i for i, p in enumerate(scene.parcels) if p.colour == scene.colour)
    x, y, yaw = place_of(scene, target)
    places = (x, y, yaw, x - scene.position[0], y - scene.position[1], float(y < VISIBLE_Y))
    row: dict[str, Any] = {
        "state": cell.state(),
        "task": np.array(cell.task),
        "auxiliary": np.array(places, np.float32) / AUXILIARY_SCALE,
        "visible": np.array(y < VISIBLE_Y),
        "sights": np.array([sight(c.name, scene, target) for c in config.cameras], np.float32),
    }
    for camera in config.cameras:
        picture = draw(camera.name, block, frame=tick)
        row[f"image_{camera.name}"] = resize(picture, camera.width, camera.height)
    return row


def generate(directory: Path, config: DatasetConfig, seeds: int, workers: int) -> Iterator[int]:
    """Make the missing ones of `seeds` shards, in forked workers; yields the number of shards
    whenever one is finished. Raises ValueError when `directory` has those of another config."""
    directory.mkdir(parents=True, exist_ok=True)
    description, wanted = directory / "dataset.json", msgspec.json.encode(config)
    if description.exists() and description.read_bytes() != wanted:
        raise ValueError(
            f"{directory} holds demonstrations of another config ({description.read_text()}); "
            "give another --data directory or delete it"
        )
    description.write_bytes(wanted)
    missing = [s for s in range(seeds) if not (directory / f"shard-{s:05d}").exists()]
    finished = seeds - len(missing)
    yield finished
    with _workers_records(), multiprocessing.get_context("fork").Pool(workers) as pool:
        jobs = ((directory, config, s) for s in missing)
        for _ in pool.imap_unordered(_make_shard, jobs):
            finished += 1
            yield finished


@contextlib.contextmanager
def _workers_records() -> Iterator[None]:
    """A context in which records of forked workers go through this process's handlers."""
    install_mp_handler()
    ours = [h for h in logging.getLogger().handlers if isinstance(h, MultiProcessingHandler)]
    try:
        yield
    finally:
        uninstall_mp_handler()
        for handler in ours:
            handler.close()


def _make_shard(job: tuple[Path, DatasetConfig, int]) -> None:
    directory, config, number = job
    final, partial = directory / f"shard-{number:05d}", directory / f".shard-{number:05d}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name, array in demonstrate(config, FIRST_SEED + number).items():
        np.save(partial / f"{name}.npy", array)
    partial.rename(final)


def load(directory: Path, shards: int | None = None) -> Demonstrations:
    """The first `shards` shards (default all), in order. Raises ValueError without a shard."""
    config = msgspec.json.decode((directory / "dataset.json").read_bytes(), type=DatasetConfig)
    found = sorted(directory.glob("shard-*"))[:shards]
    if not found:
        raise ValueError(f"{directory} holds no shards; generate them first")

    def whole(name: str) -> NDArray[Any]:
        return np.concatenate([np.load(s / f"{name}.npy") for s in found])

    tasks, numbers = np.unique(whole("task"), return_inverse=True)
    return Demonstrations(
        images={c.name: whole(f"image_{c.name}") for c in config.cameras},
        state=whole("state"),
        task=numbers.astype(np.int64),
        tasks=tuple(map(str, tasks)),
        chunks=whole("chunks"),
        counts=whole("counts"),
        auxiliary=whole("auxiliary"),
        visible=whole("visible"),
        sights=whole("sights"),
    )

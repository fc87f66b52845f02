"""`EpisodeWindows`: the frames of a LeRobotDataset in memory, each with the actions that follow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DatasetError
from ...policy.base import CameraFeature, PolicySpec
from ...robot.dataset.dataset_info import ACTION, IMAGES, INFO, STATE, STATS
from ...robot.dataset.dataset_reader import Dataset
from ...robot.dataset.recorded_episode import RecordedEpisode
from ...transport.images import resize
from .training_config import RecordedConfig, prefix_of

Advance = Callable[[int], None]


@dataclass(frozen=True)
class EpisodeWindows:
    """N frames, episode after episode.

    `images[camera]` uint8 [N, h, w, 3] of the policy's size, mapped from a file; `state` [N, S];
    `action` [N, A]; `end` [N], the row after the last of the frame's episode; `task` [N] indexes
    `tasks`; `identity` names the dataset and its content.
    """

    images: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    end: NDArray[np.int64]
    task: NDArray[np.int64]
    tasks: tuple[str, ...]
    identity: str

    def __len__(self) -> int:
        return len(self.state)

    def chunks(
        self, rows: NDArray[np.int64], steps: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The actions [b, steps, A] from each row on, and how many [b] of them were recorded: after
        an episode's end its last action is repeated."""
        at = rows[:, None] + np.arange(steps)
        last = self.end[rows, None] - 1
        return self.action[np.minimum(at, last)], np.minimum(self.end[rows] - rows, steps)


def spec_of(dataset: Dataset, config: RecordedConfig) -> PolicySpec:
    """The contract of a policy that is trained on `dataset`. Where the parts of its state or action
    have no names, the policy's go by their count. Raises ValueError or DatasetError."""
    cameras = cameras_of(dataset)
    unknown = [name for name in config.cameras if name not in cameras]
    if unknown:
        raise ValueError(
            f"cameras: {', '.join(unknown)} not found, {dataset.root} has "
            f"{', '.join(cameras) or 'none'}"
        )
    for key in (STATE, ACTION):
        if key not in dataset.features:
            raise ValueError(
                f"{dataset.root} has no {key}: a policy is trained on a state and an action of "
                f"each frame. Name the feature that it is {key}; there are "
                f"{', '.join(dataset.features)}"
            )
    names = {key: _names(dataset, key) for key in (STATE, ACTION)}
    return PolicySpec(
        model=config.model or dataset.root.resolve().name,
        revision="1",
        cameras=tuple(
            CameraFeature(name, width=config.image_width, height=config.image_height)
            for name in config.cameras or cameras
        ),
        state_names=names[STATE][0],
        action_names=names[ACTION][0],
        chunk_size=config.chunk_size,
        fps=dataset.fps,
        control_mode=config.control_mode,
        **prefix_of(config),
        by_count=any(placeholders for _, placeholders in names.values()),
    )


def cameras_of(dataset: Dataset) -> dict[str, str]:
    """The key of each colour camera, by the camera's name."""
    return {
        key.removeprefix(IMAGES).removeprefix("observation."): key
        for key in dataset.cameras
        if not dataset.features[key].is_depth
    }


def identity_of(dataset: Dataset) -> str:
    """A hash of meta/info.json, meta/stats.json and the names and sizes of all files, 16 hex
    digits: more episodes, or others, give another. The dataset's place does not count."""
    digest, root = hashlib.sha256(), dataset.root
    for name in (INFO, STATS):
        path = root / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    for folder in ("meta", "data", "videos"):
        for path in sorted(path for path in (root / folder).rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(root).as_posix()} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def load_windows(
    dataset: Dataset,
    spec: PolicySpec,
    cache: Path,
    advance: Advance = lambda _: None,
    *,
    skip_failures: bool = False,
) -> EpisodeWindows:
    """All frames of `dataset` for `spec`; with `skip_failures` those of episodes that were not
    judged to be failures. Images are decoded once, into `cache`; `advance` is called with the
    number of images after each episode. Raises DatasetError."""
    if not len(dataset):
        raise DatasetError(f"{dataset.root} has no episodes; record some first")
    episodes = [each for each in dataset if not (skip_failures and failed(each))]
    if not episodes:
        raise DatasetError(f"{dataset.root}: all episodes are failures, which skip_failures omits")
    numbers = {task: number for number, task in enumerate(dataset.tasks)}
    parts: dict[str, list[NDArray[Any]]] = {"state": [], "action": [], "end": [], "task": []}
    row = 0
    for episode in episodes:
        row += len(episode)
        parts["state"].append(episode.states)
        parts["action"].append(episode.actions)
        parts["end"].append(np.full(len(episode), row))
        parts["task"].append(np.array([numbers[task] for task in episode.tasks]))
    whole = {name: np.concatenate(each) for name, each in parts.items()}
    for name in ("state", "action"):
        if not np.isfinite(whole[name]).all():
            raise DatasetError(f"{dataset.root}: the {name}s hold values that are not finite")
    keys, identity = cameras_of(dataset), identity_of(dataset)
    if len(episodes) < len(dataset):
        identity += "-without-failures"
    folder = cache / identity
    return EpisodeWindows(
        images={c.name: _frames(episodes, keys[c.name], c, folder, advance) for c in spec.cameras},
        **whole,
        tasks=dataset.tasks,
        identity=identity,
    )


def failed(episode: RecordedEpisode) -> bool:
    """Whether an episode was judged, and not to be a success."""
    success = episode.entry.extra.get("success")
    return success is not None and not success


def fake_windows(
    spec: PolicySpec,
    seed: int = 0,
    tasks: tuple[str, ...] = ("pick up the part", "put down the part"),
) -> EpisodeWindows:
    """Two short episodes of random values that fit `spec`, of the first and the last of `tasks`."""
    rng, length = np.random.default_rng(seed), 8
    total = 2 * length
    sizes = len(spec.state_names), len(spec.action_names)
    return EpisodeWindows(
        images={
            c.name: rng.integers(0, 256, (total, c.height, c.width, 3), np.uint8)
            for c in spec.cameras
        },
        state=rng.standard_normal((total, sizes[0]), np.float32),
        action=rng.standard_normal((total, sizes[1]), np.float32),
        end=np.repeat([length, total], length),
        task=np.repeat([0, len(tasks) - 1], length),
        tasks=tasks,
        identity=f"fake data of seed {seed}",
    )


def _names(dataset: Dataset, key: str) -> tuple[tuple[str, ...], bool]:
    """The names of a vector's parts, and whether they are placeholders."""
    names, size = dataset.names(key), int(np.prod(dataset.features[key].shape))
    if len(names) == size == len(set(names)):
        return names, False
    short = key.rpartition(".")[2]
    return tuple(f"{short}_{place}" for place in range(size)), True


def _frames(
    episodes: Sequence[RecordedEpisode],
    key: str,
    camera: CameraFeature,
    folder: Path,
    advance: Advance,
) -> NDArray[np.uint8]:
    """The images of a camera, mapped from a file of `folder`, which is whole or absent."""
    path = folder / f"{key}-{camera.width}x{camera.height}.npy"
    total = sum(len(episode) for episode in episodes)
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        shape, row = (total, camera.height, camera.width, 3), 0
        images = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for episode in episodes:
            for image in episode.frames(key):
                images[row] = resize(image, camera.width, camera.height)
                row += 1
            advance(len(episode))
        images.flush()
        partial.replace(path)
    else:
        advance(total)
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return mapped

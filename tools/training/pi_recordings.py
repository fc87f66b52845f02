"""Recorded episodes for π0 and π0.5: the contract of a policy trained on them, their statistics and
the tokenizer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...errors import StepError
from ...policy.base import CameraFeature, Observation, PolicySpec
from ...policy.checkpoint import NormStats
from ...policy.normalize import MIN_SPREAD, Stats
from ...policy.pi0.architecture import FlowFamily
from ...policy.pi0.trained_data import robot_of
from ...policy.pi0.word_pieces import JSON, MODEL, WordPieces, read_word_pieces
from ...policy.steps import Embodiment, embodiment_of
from ...policy.steps.running_stats import RunningStats
from ...robot.dataset.dataset_reader import Dataset
from .byte_pieces import byte_tokenizer
from .episode_windows import EpisodeWindows, cameras_of, spec_of
from .pi_config import PiConfig, family_of, fitted, network_of
from .training_config import prefix_of

BYTES = "bytes"
_ROWS_AT_ONCE = 1024


def pi_spec_of(dataset: Dataset, config: PiConfig) -> tuple[PolicySpec, tuple[str, ...]]:
    """The contract of a policy that is trained on `dataset`, and the dataset's name of each of its
    cameras. With a mapping, names are the mapping's; the dataset's cameras are those of the same
    names, or in the order of `cameras`. Raises ValueError or DatasetError."""
    mapping, there = network_of(config).mapping, cameras_of(dataset)
    if not there:
        raise ValueError(
            f"{dataset.root} has no colour cameras, and {config.kind} sees at least one: record "
            "one, or train flow or act"
        )
    plain = spec_of(dataset, msgspec.structs.replace(config, image_width=1, image_height=1))
    named, own = plain, tuple(camera.name for camera in plain.cameras)
    theirs = own
    if mapping:
        robot = embodiment_of(mapping)
        for what, found, wanted in (
            ("state", plain.state_names, robot.state_names),
            ("action", plain.action_names, robot.action_names),
        ):
            if len(found) != len(wanted):
                raise ValueError(
                    f"mapping {mapping} has {len(wanted)} values of the {what} "
                    f"({', '.join(wanted)}), {dataset.root} has {len(found)} ({', '.join(found)})"
                )
        own, theirs = _cameras(dataset, config, robot, there)
        named = robot.spec(plain.model, config.chunk_size, fps=plain.fps, **prefix_of(config))
        _try_steps(dataset, config, robot, own, tuple(there))
    cameras = tuple(
        _camera(name, dataset.features[there[other]].shape, config)
        for name, other in zip(own, theirs, strict=True)
    )
    return msgspec.structs.replace(named, cameras=cameras), theirs


def _cameras(
    dataset: Dataset, config: PiConfig, robot: Embodiment, there: dict[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The mapping's names of the cameras, and the dataset's. Raises ValueError."""
    used = robot.used_cameras
    if config.cameras:
        if len(config.cameras) > len(used):
            raise ValueError(f"cameras: found {len(config.cameras)}, expected {', '.join(used)}")
        return used[: len(config.cameras)], config.cameras
    same = tuple(name for name in used if name in there)
    # A model's first place is never empty.
    if used[0] not in same:
        raise ValueError(
            f"{dataset.root} has the cameras {', '.join(there) or '(none)'}, the mapping "
            f"{robot.name} {', '.join(used)}: give the dataset's in this order, as "
            f"cameras={','.join(list(there)[: len(used)])}"
        )
    return same, same


def _try_steps(
    dataset: Dataset,
    config: PiConfig,
    robot: Embodiment,
    own: tuple[str, ...],
    there: tuple[str, ...],
) -> None:
    """Bring a frame of the cameras `own` through the steps of the mapping's robot. Raises
    ValueError where they want more."""
    state, actions = (np.zeros(len(n), np.float32) for n in (robot.state_names, robot.action_names))
    black = dict.fromkeys(own, np.zeros((1, 1, 3), np.uint8))
    frame = Observation(state=state, images=black, prefix_robot=actions[None])
    try:
        robot.steps(family_of(config)).before(robot.keys.observed(frame))
    except StepError as error:
        used = robot.used_cameras
        raise ValueError(
            f"mapping {robot.name}, of the cameras {', '.join(own)} of {dataset.root}: {error}. "
            f"The dataset has {', '.join(there)}: give those that are {', '.join(used)} in this "
            f"order, as cameras={','.join(there[: len(used)])}"
        ) from error


def _camera(name: str, shape: tuple[int, ...], config: PiConfig) -> CameraFeature:
    if config.image_width and config.image_height:
        return CameraFeature(name, config.image_width, config.image_height)
    # A few datasets have the channels first.
    height, width = shape[1:] if shape[0] == 3 else shape[:2]
    return CameraFeature(name, *fitted(width, height, network_of(config).vision.pixels))


def fake_pi_spec(config: PiConfig, plain: PolicySpec) -> PolicySpec:
    """The spec of the mapping's robot, or `plain`, for a check without a dataset."""
    settings = network_of(config)
    side = settings.vision.pixels
    cameras = tuple(CameraFeature(c.name, side, side) for c in plain.cameras)
    if not settings.mapping:
        return msgspec.structs.replace(plain, cameras=cameras)
    robot = embodiment_of(settings.mapping)
    return robot.spec(plain.model, config.chunk_size, size=(side, side), **prefix_of(config))


def measured(
    config: PiConfig, family: FlowFamily, spec: PolicySpec, data: EpisodeWindows
) -> NormStats:
    """The statistics of states and whole chunks as the robot's steps have made them, as openpi's
    `scripts/compute_norm_stats.py` takes them; of what was recorded. Raises ValueError for fewer
    than two frames."""
    robot = robot_of(spec, network_of(config).mapping, config.relative_actions)
    steps = robot.steps(family)
    black = {camera.name: np.zeros((1, 1, 3), np.uint8) for camera in spec.cameras}
    state, action = RunningStats(), RunningStats()
    for first in range(0, len(data), _ROWS_AT_ONCE):
        rows = np.arange(first, min(first + _ROWS_AT_ONCE, len(data)))
        actions, recorded = data.chunks(rows, spec.chunk_size)
        made = [
            steps.before(
                robot.keys.observed(
                    Observation(state=data.state[row], images=black, prefix_robot=chunk)
                )
            )
            for row, chunk in zip(rows, actions, strict=True)
        ]
        state.update(np.stack([each["state"] for each in made]))
        kept = [each["actions"][:count] for each, count in zip(made, recorded, strict=True)]
        action.update(np.concatenate(kept))
    return NormStats(state=widened(state.stats()), action=widened(action.stats()))


def widened(stats: Stats) -> Stats:
    """The same, where a value that hardly varies has a spread of 1 each way: openpi's formulas
    would divide its noise by 1e-6."""
    std = tuple(1.0 if each < MIN_SPREAD else each for each in stats.std)
    pairs = [
        (low, high) if high - low >= MIN_SPREAD else ((low + high) / 2 - 1, (low + high) / 2 + 1)
        for low, high in zip(stats.q01, stats.q99, strict=True)
    ]
    low, high = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    return Stats(stats.mean, std, low, high)


def word_pieces_of(config: PiConfig) -> tuple[WordPieces, dict[str, bytes]]:
    """The tokenizer, and the file that the checkpoint has of it, by name. Raises PolicyError."""
    words = network_of(config).words
    made: Any = None
    if config.tokenizer == BYTES:
        content = byte_tokenizer()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / JSON
            file.write_bytes(content)
            made = read_word_pieces(file.parent, None, words)
        return made, {JSON: content}
    base = Path(config.base).expanduser() if config.base else Path()
    made = read_word_pieces(base, config.tokenizer or None, words, "tokenizer=PATH")
    return made, {JSON if made.file.suffix == ".json" else MODEL: made.file.read_bytes()}

"""The statistics by which a checkpoint normalizes the state, against those of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import DatasetError
from ...policy.checkpoint import STATS, NormStats
from ...robot.dataset.dataset_info import STATE
from ...robot.dataset.dataset_reader import Dataset
from .verification_run import PolicyFinding

APART, RATIO = 0.5, 2.0
"""How far a mean may be from the dataset's, as a share of its deviation, and how many times larger
or smaller the deviation: a part of the training's episodes has statistics of its own."""
_OF_LEROBOT = "policy_preprocessor*.safetensors"


def compared(folder: Path, dataset: Dataset, names: Sequence[str]) -> list[PolicyFinding]:
    """A finding for each entry of the state that the checkpoint in `folder` normalizes by another
    mean or deviation than the dataset has. Raises DatasetError for a folder without statistics."""
    given = dataset.stats().get(STATE, {})
    own_names = list(dataset.names(STATE)) or list(names)
    mean, std = _of_checkpoint(folder)
    try:
        wanted_mean, wanted_std = (np.ravel(given[key]).astype(float) for key in ("mean", "std"))
    except KeyError:
        return [PolicyFinding("the state's statistics", "the dataset has none", beyond=False)]
    if len(mean) != len(wanted_mean):
        words = f"{len(mean)} values in the checkpoint, {len(wanted_mean)} in the dataset"
        return [PolicyFinding("the state's statistics", words)]
    found = []
    for k, name in enumerate(own_names):
        unit, own = max(wanted_std[k], 1e-6), max(std[k], 1e-6)
        near = abs(mean[k] - wanted_mean[k]) <= APART * unit
        if near and 1 / RATIO <= own / unit <= RATIO:
            continue
        words = (
            f"normalized by mean {mean[k]:.4g} and deviation {std[k]:.4g}, the dataset has "
            f"{wanted_mean[k]:.4g} and {wanted_std[k]:.4g}: another dataset, unit or order of names"
        )
        found.append(PolicyFinding(f"state {name}", words))
    return found


def _of_checkpoint(folder: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and deviation of the state in a checkpoint of ours or of LeRobot's."""
    ours = folder / STATS
    if ours.is_file():
        stats = msgspec.json.decode(ours.read_bytes(), type=NormStats).state
        return np.asarray(stats.mean), np.asarray(stats.std)
    for file in sorted(folder.glob(_OF_LEROBOT)):
        from safetensors.numpy import load_file

        tensors = load_file(file)
        if f"{STATE}.mean" in tensors and f"{STATE}.std" in tensors:
            return np.ravel(tensors[f"{STATE}.mean"]), np.ravel(tensors[f"{STATE}.std"])
    raise DatasetError(
        f"{folder} has no statistics of the state: expected {STATS}, or {_OF_LEROBOT} with "
        f"{STATE}.mean, as LeRobot's save_pretrained writes them"
    )

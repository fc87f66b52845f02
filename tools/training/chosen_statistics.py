"""`chosen_statistics`: what normalizes a training, where it is not measured."""

from __future__ import annotations

import msgspec

from ...policy.base import PolicySpec
from ...policy.checkpoint import NormStats
from ...policy.normalize import Stats
from ...policy.steps import read_norm_stats
from ...robot.dataset.dataset_reader import Dataset
from .pi_config import PiConfig, network_of
from .training_config import RecordedConfig


def chosen_statistics(
    dataset: Dataset, config: RecordedConfig, spec: PolicySpec
) -> NormStats | None:
    """Those of the dataset's own file or of the base, as `statistics` says; None where they are
    measured. Raises ValueError or PolicyError where they cannot be used."""
    if config.statistics == "dataset":
        return dataset_stats(read_norm_stats(dataset.root), config)
    if config.statistics == "base":
        return _of_base(config, spec)
    return None


def dataset_stats(found: dict[str, Stats], config: RecordedConfig) -> NormStats:
    """The statistics of a dataset's own meta/stats.json, as `read_norm_stats` gives them. Raises
    ValueError where they cannot be used."""
    if config.relative_actions:
        raise ValueError(
            "statistics=dataset: meta/stats.json describes absolute actions, but relative_actions "
            f"has {', '.join(config.relative_actions)}; use statistics=recomputed"
        )
    if isinstance(config, PiConfig) and (mapping := network_of(config).mapping):
        raise ValueError(
            "statistics=dataset: meta/stats.json describes what was recorded, and the mapping "
            f"{mapping} may change it; use statistics=recomputed"
        )
    absent = [key for key in ("state", "actions") if key not in found or not found[key].q01]
    if absent:
        raise ValueError(
            f"statistics=dataset: meta/stats.json lacks mean, std, q01 or q99 of "
            f"{' and '.join(absent)}; use statistics=recomputed"
        )
    return NormStats(state=found["state"], action=found["actions"])


def _of_base(config: RecordedConfig, spec: PolicySpec) -> NormStats:
    """Those in the base's directory, of as many values as the spec has."""
    if not config.base:
        raise ValueError("statistics=base needs a base, as base=runs/first")
    asset = config.asset if isinstance(config, PiConfig) else ""
    found = read_norm_stats(config.base, asset or None)
    parts = {}
    for key, names in (("state", spec.state_names), ("actions", spec.action_names)):
        stats = found.get(key)
        if stats is None or len(stats.mean) < len(names):
            raise ValueError(
                f"statistics=base: {config.base} has {len(stats.mean) if stats else 0} values of "
                f"{key}, the robot {len(names)} ({', '.join(names)}); use statistics=recomputed"
            )
        # openpi's may be padded to the size of the network.
        parts[key] = Stats(*(each[: len(names)] for each in msgspec.structs.astuple(stats)))
    return NormStats(state=parts["state"], action=parts["actions"])

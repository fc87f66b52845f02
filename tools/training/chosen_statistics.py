"""`chosen_statistics`: what normalizes a training, where it is not measured."""

from __future__ import annotations

import msgspec

from ...errors import PolicyError
from ...policy.base import PolicySpec
from ...policy.checkpoint import NormStats, resolve
from ...policy.normalize import Stats
from ...policy.steps import read_norm_stats
from ...robot.dataset.dataset_reader import Dataset
from .pi_config import PiConfig, network_of
from .pi_recordings import widened
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
    return _kept(config, found["state"], found["actions"])


def _of_base(config: RecordedConfig, spec: PolicySpec) -> NormStats:
    """Those in the base's directory, of as many values as the spec has."""
    if not config.base:
        raise ValueError("statistics=base needs a base, as base=runs/first")
    found = _found(config)
    parts = {}
    for key, names, mode in (
        ("state", spec.state_names, config.state_mode),
        ("actions", spec.action_names, config.action_mode),
    ):
        stats = found.get(key)
        if stats is None or len(stats.mean) < len(names):
            raise ValueError(
                f"statistics=base: {config.base} has {len(stats.mean) if stats else 0} values of "
                f"{key}, the robot {len(names)} ({', '.join(names)}); use statistics=recomputed"
            )
        if mode == "quantile" and not stats.q01:
            raise ValueError(
                f"statistics=base: {config.base} has no q01 and q99 of {key}, which the mode "
                "quantile needs: use statistics=recomputed, or state_mode=zscore "
                "action_mode=zscore where the base was trained so"
            )
        # openpi's may be padded to the size of the network.
        parts[key] = Stats(*(each[: len(names)] for each in msgspec.structs.astuple(stats)))
    return _kept(config, parts["state"], parts["actions"])


def _found(config: RecordedConfig) -> dict[str, Stats]:
    """The statistics in the base's directory, by openpi's keys."""
    if not isinstance(config, PiConfig):
        return read_norm_stats(resolve(config.base))
    try:
        return read_norm_stats(config.base, config.asset or None)
    except PolicyError as error:
        raise ValueError(
            f"statistics=base: {error}. Name another asset, as asset=trossen (`asset=` for the "
            "statistics beside the weights), or measure the dataset's: statistics=recomputed"
        ) from error


def _kept(config: RecordedConfig, state: Stats, action: Stats) -> NormStats:
    """The statistics with a spread that the kind's formulas can divide by: those of `flow` and
    `act` widen a small one themselves (`Normalizer`)."""
    if isinstance(config, PiConfig):
        return NormStats(state=widened(state), action=widened(action))
    return NormStats(state=state, action=action)

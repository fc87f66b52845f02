"""Statistics that are not measured: those of the dataset's file and those of the base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.errors import PolicyError
from holdfast.policy.checkpoint import NormStats, read_stats
from holdfast.policy.normalize import Stats
from holdfast.policy.steps import write_norm_stats
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.tests.robot.dataset.recordings import dataset
from holdfast.tests.tools.training.small_pi_trainings import tiny
from holdfast.tests.tools.training.small_trainings import small
from holdfast.tools.training.chosen_statistics import chosen_statistics
from holdfast.tools.training.episode_windows import fake_windows
from holdfast.tools.training.pi_batches import PiBatches
from holdfast.tools.training.pi_config import sized
from holdfast.tools.training.pi_recordings import pi_spec_of
from holdfast.tools.training.trained_policy import trained_policy
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_check import fake_spec


@pytest.fixture
def recorded(tmp_path: Path) -> Dataset:
    """A dataset whose second action never varies."""
    dataset(tmp_path / "pick", lengths=(6, 5))
    path = tmp_path / "pick" / "meta" / "stats.json"
    stats = json.loads(path.read_bytes())
    for name, value in {"mean": 0.5, "std": 0.0, "q01": 0.5, "q99": 0.5}.items():
        stats["action"][name][1] = value
    path.write_text(json.dumps(stats))
    return Dataset(tmp_path / "pick")


def plain(size: int, **changes: Any) -> Stats:
    values: dict[str, Any] = {"mean": (0.0,) * size, "std": (1.0,) * size}
    return Stats(**values | changes)


def test_a_value_that_does_not_vary_in_the_datasets_file_has_a_spread(recorded: Dataset) -> None:
    """Of π0.5, whose formulas would divide by 1e-6; the other kinds widen it themselves."""
    config = tiny(statistics="dataset")
    spec, _ = pi_spec_of(recorded, sized(config))
    chosen = chosen_statistics(recorded, config, spec)
    assert chosen is not None
    assert (chosen.action.std[1], chosen.action.q01[1], chosen.action.q99[1]) == (1.0, -0.5, 1.5)
    kept = chosen_statistics(recorded, small(statistics="dataset"), spec)
    assert kept is not None and kept.action.q01[1] == kept.action.q99[1] == 0.5


def test_a_value_that_does_not_vary_in_the_base_has_a_spread(
    recorded: Dataset, tmp_path: Path
) -> None:
    """A gripper that the base's robot never moved gives no loss of 1e12."""
    flat = plain(3, std=(0.0,) * 3, q01=(2.0,) * 3, q99=(2.0,) * 3)
    write_norm_stats(tmp_path / "base", {"state": flat, "actions": flat})
    config = tiny(statistics="base", base=str(tmp_path / "base"))
    spec, _ = pi_spec_of(recorded, sized(tiny()))
    chosen = chosen_statistics(recorded, config, spec)
    assert chosen is not None and chosen.action == Stats((0, 0), (1, 1), (1, 1), (3, 3))


def test_a_base_without_quantiles_is_trained_and_served_by_z_score(tmp_path: Path) -> None:
    """openpi's files may have none. What is saved has none either, and is served."""
    spec = fake_spec(tiny())
    write_norm_stats(tmp_path / "base", {"state": plain(8), "actions": plain(8)})
    changes: dict[str, Any] = {"statistics": "base", "base": str(tmp_path / "base")}
    config = tiny("pi0", state_mode="zscore", action_mode="zscore", **changes)
    unread: Any = None
    stats = chosen_statistics(unread, config, spec)
    assert stats == NormStats(plain(6), plain(6))
    plainly = sized(msgspec.structs.replace(config, base=""))
    batches = PiBatches(plainly, spec, fake_windows(spec), 0, stats)
    Trainer(plainly, batches).save(tmp_path / "run")
    assert read_stats(tmp_path / "run") == stats
    policy = trained_policy("pi0", tmp_path / "run")
    (chunk,) = policy.predict_chunk([policy.spec.example()])
    assert np.isfinite(chunk.robot).all()
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace('"zscore"', '"quantile"'))
    with pytest.raises(PolicyError, match=r"state has \[0, 6\] entries where the spec names 6"):
        read_stats(tmp_path / "run")
    quantiles = msgspec.structs.replace(config, state_mode="quantile", action_mode="quantile")
    with pytest.raises(ValueError, match=r"has no q01 and q99 of state, which the mode quantile"):
        chosen_statistics(unread, quantiles, spec)


def test_an_asset_that_is_absent_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    """And with the keys that choose others."""
    spec, unread = fake_spec(tiny()), None
    stats = {"state": plain(8), "actions": plain(8)}
    write_norm_stats(tmp_path / "assets" / "droid", stats)
    config = tiny(statistics="base", base=str(tmp_path), asset="trossen")
    said = r"has the statistics of droid\. Name another asset, as asset=.* statistics=recomputed"
    with pytest.raises(ValueError, match=said):
        chosen_statistics(unread, config, spec)  # type: ignore[arg-type]


def test_the_base_may_be_a_shipped_one() -> None:
    """Its statistics are found by its name, as its weights are."""
    spec, unread = fake_spec(small()), None
    config = small(statistics="base", base="conveyor-flow")
    with pytest.raises(ValueError, match=r"conveyor-flow has \d+ values of state, the robot 99"):
        names = tuple(f"s{number}" for number in range(99))
        wide = msgspec.structs.replace(spec, state_names=names)
        chosen_statistics(unread, config, wide)  # type: ignore[arg-type]

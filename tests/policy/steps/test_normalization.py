"""Normalization by the formulas of openpi and of LeRobot, and its inverse."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import StepError
from holdfast.policy.normalize import Mode, Stats
from holdfast.policy.steps import NormalizeKeys, UnnormalizeKeys
from holdfast.policy.steps.normalization import Formula
from holdfast.tests.peers.environments import interpreter_of

STATS = {"state": Stats((1.0, -2.0), (2.0, 0.0), (0.0, -2.0), (4.0, -2.0))}
"""The second dimension is constant."""


def scaled(value: Any, mode: Mode, formula: Formula = "openpi") -> Any:
    return NormalizeKeys(STATS, mode, formula)({"state": np.float64(value)})["state"]


def back(value: Any, mode: Mode, formula: Formula = "openpi") -> Any:
    return UnnormalizeKeys(STATS, mode, formula)({"state": np.float64(value)})["state"]


def test_openpis_formulas_give_the_values_computed_by_hand() -> None:
    """1e-6 is added to each divisor, in both directions; nothing is clipped."""
    assert scaled([5.0, -2.0], "zscore").tolist() == [4.0 / 2.000001, 0.0]
    assert scaled([9.0, -2.0], "quantile").tolist() == [9.0 / 4.000001 * 2 - 1, -1.0]
    assert back([2.0, 3.0], "zscore").tolist() == [2.0 * 2.000001 + 1.0, 3.0 * 1e-6 - 2.0]
    assert back([3.0, -1.0], "quantile").tolist() == [2.0 * 4.000001, -2.0]


def test_lerobots_formulas_give_the_values_computed_by_hand() -> None:
    """1e-8 is added to a deviation before the model only, and stands for a range of 0."""
    assert scaled([5.0, -2.0], "zscore", "lerobot").tolist() == [4.0 / (2.0 + 1e-8), 0.0]
    assert scaled([9.0, -2.0], "quantile", "lerobot").tolist() == [3.5, -1.0]
    assert back([2.0, 3.0], "zscore", "lerobot").tolist() == [5.0, -2.0]
    assert back([3.0, -1.0], "quantile", "lerobot").tolist() == [8.0, -2.0]


def test_an_own_eps_replaces_the_formulas() -> None:
    """A checkpoint of LeRobot may have another than 1e-8."""
    step = NormalizeKeys(STATS, "zscore", "lerobot", eps=1.0)
    assert step({"state": np.array([5.0, 0.0])})["state"].tolist() == [4 / 3, 2.0]


def test_types_are_those_of_each_project() -> None:
    """openpi's statistics are float64 and so is the result; LeRobot keeps the values' type."""
    data = {"state": np.array([5.0, -2.0], np.float32)}
    assert NormalizeKeys(STATS)(data)["state"].dtype == np.float64
    assert NormalizeKeys(STATS, formula="lerobot")(data)["state"].dtype == np.float32


def test_values_fewer_than_the_statistics_use_the_first_ones() -> None:
    """Before the model; after it the model's further values have mean 0 and deviation 1."""
    assert NormalizeKeys(STATS)({"state": np.array([1.0])})["state"].tolist() == [0.0]
    assert back([0.0, 0.0, 5.0], "zscore").tolist() == [1.0, -2.0, 5.0 * 1.000001]
    assert back([-1.0, -1.0, 5.0], "quantile").tolist() == [0.0, -2.0, 5.0]


def test_keys_are_paths_and_others_pass() -> None:
    """What has no statistics stays; a key that is absent matters if `strict`, and after a model."""
    stats = {"robot/state": STATS["state"], "actions": STATS["state"]}
    data = {"robot": {"state": np.array([1.0, -2.0]), "name": "x"}}
    made = NormalizeKeys(stats)(data)
    assert made["robot"]["state"].tolist() == [0.0, 0.0]
    assert made["robot"]["name"] == "x"
    for step in (NormalizeKeys(stats, strict=True), UnnormalizeKeys(stats)):
        with pytest.raises(StepError, match="there is no 'actions'; there is robot/state float64"):
            step(data)


def test_what_does_not_fit_the_statistics_is_an_error() -> None:
    """Longer than them before the model, shorter after it, and a mode without its quantiles."""
    with pytest.raises(StepError, match=r"NormalizeKeys: 'state' is float64\[3\], .* the 2 values"):
        NormalizeKeys(STATS)({"state": np.zeros(3)})
    with pytest.raises(StepError, match=r"UnnormalizeKeys: 'state' is float64\[1\], .* the 2 val"):
        UnnormalizeKeys(STATS)({"state": np.zeros(1)})
    bare = {"state": Stats((1.0,), (1.0,))}
    with pytest.raises(StepError, match="the statistics of 'state' have 0 and 0 values of q01"):
        NormalizeKeys(bare, "quantile")


SPREAD = st.floats(0.01, 100)
VALUES = st.floats(-1000, 1000)


@given(
    st.lists(st.tuples(VALUES, SPREAD, VALUES), min_size=1, max_size=4),
    st.sampled_from(["zscore", "quantile"]),
    st.sampled_from(["openpi", "lerobot"]),
)
def test_normalized_values_come_back(
    columns: list[tuple[float, float, float]],
    mode: Literal["zscore", "quantile"],
    formula: Literal["openpi", "lerobot"],
) -> None:
    """Up to rounding, and to the part of 1e-8 by which LeRobot's z-score is no exact inverse."""
    mean, spread, values = (np.array(column) for column in zip(*columns, strict=True))
    stats = {"x": Stats(*(tuple(s) for s in (mean, spread, mean - spread, mean + spread)))}
    data = {"x": values[None]}
    made = NormalizeKeys(stats, mode, formula)(data)
    again = UnnormalizeKeys(stats, mode, formula)(made)["x"]
    inexact = 1e-8 / spread if (mode, formula) == ("zscore", "lerobot") else 0.0
    assert (np.abs(again - values) <= 1e-7 + np.abs(values - mean) * inexact).all()


PEER = """
import sys
import numpy as np, torch
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature
from lerobot.lerobot_types import TransitionKey
from lerobot.processor.normalize_processor import NormalizerProcessorStep, UnnormalizerProcessorStep
from lerobot.processor.pipeline import DataProcessorPipeline
given = np.load(sys.argv[1])
stats = {k: {s: given[f"{k}.{s}"] for s in ("mean", "std", "q01", "q99")}
         for k in ("observation.state", "action")}
features = {"observation.state": PolicyFeature(FeatureType.STATE, (6,)),
            "action": PolicyFeature(FeatureType.ACTION, (6,))}
made = {}
for name, mode in (("zscore", "MEAN_STD"), ("quantile", "QUANTILES")):
    norm_map = dict.fromkeys((FeatureType.STATE, FeatureType.ACTION), NormalizationMode[mode])
    state, action = torch.from_numpy(given["state"]), torch.from_numpy(given["actions"])
    step = NormalizerProcessorStep(features, norm_map, stats)
    observation = {"observation.state": state}
    found = step({TransitionKey.OBSERVATION: observation, TransitionKey.ACTION: action})
    made[f"{name}/state"] = found[TransitionKey.OBSERVATION]["observation.state"].numpy()
    made[f"{name}/actions"] = found[TransitionKey.ACTION].numpy()
    inverse = UnnormalizerProcessorStep(features, norm_map, stats)
    made[f"{name}/back"] = inverse({TransitionKey.OBSERVATION: {}, TransitionKey.ACTION: action})[
        TransitionKey.ACTION].numpy()
pipeline = DataProcessorPipeline([step], name="policy_preprocessor")
pipeline.save_pretrained(sys.argv[2], config_filename="policy_preprocessor.json")
np.savez(sys.argv[3], **made)
"""


@pytest.mark.slow
def test_lerobots_own_normalizer_gives_the_same_values(tmp_path: Path) -> None:
    """Within 1 ulp of what 0.6.1's processor computes, whose saved statistics are read, too."""
    from holdfast.policy.steps import read_norm_stats

    rng = np.random.default_rng(3)
    given_values: dict[str, Any] = {
        "state": rng.normal(size=6).astype(np.float32),
        "actions": rng.normal(size=(50, 6)).astype(np.float32),
    }
    for key in ("observation.state", "action"):
        low = rng.normal(size=6).astype(np.float32)
        high = low + rng.uniform(0.01, 3, 6).astype(np.float32)
        high[5] = low[5]
        both = {"mean": (low + high) / 2, "std": (high - low) / 4, "q01": low, "q99": high}
        given_values |= {f"{key}.{name}": value for name, value in both.items()}
    inputs, saved, outputs = tmp_path / "in.npz", tmp_path / "checkpoint", tmp_path / "out.npz"
    np.savez(inputs, **given_values)
    command = [str(interpreter_of("lerobot-0.6")), "-c", PEER]
    subprocess.run([*command, str(inputs), str(saved), str(outputs)], check=True, timeout=300)
    stats, theirs = read_norm_stats(saved), np.load(outputs)
    assert set(stats) == {"state", "actions"}
    assert stats["actions"].mean == tuple(map(float, given_values["action.mean"]))
    modes: tuple[Mode, ...] = ("zscore", "quantile")
    for mode in modes:
        data = {key: given_values[key] for key in ("state", "actions")}
        made = NormalizeKeys(stats, mode, "lerobot")(data)
        only = {"actions": stats["actions"]}
        made["back"] = UnnormalizeKeys(only, mode, "lerobot")(data)["actions"]
        for key, value in made.items():
            assert value.dtype == np.float32
            np.testing.assert_array_max_ulp(value, theirs[f"{mode}/{key}"], maxulp=1)

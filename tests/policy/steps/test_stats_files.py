"""The files of statistics of openpi and of LeRobot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from holdfast.errors import PolicyError
from holdfast.policy.normalize import Stats
from holdfast.policy.steps import read_norm_stats, write_norm_stats

OPENPI = """{
  "norm_stats": {
    "state": {"mean": [1.0, 2.0], "std": [0.5, 0.25], "q01": [0.0, 0.1], "q99": [3.0, 4.0]},
    "actions": {"mean": [0.0], "std": [1.0], "q01": null, "q99": null}
  }
}"""
STATE = Stats((1.0, 2.0), (0.5, 0.25), (0.0, 0.1), (3.0, 4.0))
ACTIONS = Stats((0.0,), (1.0,))

LEROBOT: dict[str, Any] = {
    "observation.state": {
        "min": [0.0], "max": [3.0], "mean": [1.0], "std": [0.5], "count": [100],
        "q01": [0.1], "q10": [0.2], "q50": [1.0], "q90": [2.0], "q99": [2.9],
    },
    "action": {"min": [0.0], "max": [3.0], "mean": [1.5], "std": [0.5], "count": [100]},
    "observation.images.top": {"mean": [[[0.5]], [[0.5]], [[0.5]]], "std": [[[1.0]]] * 3},
    "timestamp": {"mean": [3.0], "std": [1.0], "min": [0.0], "max": [6.0], "count": [100]},
}  # fmt: skip


def test_openpis_statistics_are_read_wherever_they_are_named(tmp_path: Path) -> None:
    """The checkpoint, its assets, the asset's directory, or the file; null means no quantiles."""
    folder = tmp_path / "checkpoint" / "assets" / "trossen" / "v2"
    folder.mkdir(parents=True)
    (folder / "norm_stats.json").write_text(OPENPI)
    places = (folder / "norm_stats.json", folder, folder.parents[1], tmp_path / "checkpoint")
    for place in places:
        assert read_norm_stats(place) == {"state": STATE, "actions": ACTIONS}
    other = tmp_path / "checkpoint" / "assets" / "droid"
    other.mkdir()
    (other / "norm_stats.json").write_text(OPENPI.replace("2.0", "7.0"))
    with pytest.raises(PolicyError, match=r"several assets \(droid, trossen/v2\): name one"):
        read_norm_stats(tmp_path / "checkpoint")
    found = read_norm_stats(tmp_path / "checkpoint", "droid")
    assert found["state"].mean == (1.0, 7.0)


def test_what_is_written_is_of_openpis_form(tmp_path: Path) -> None:
    """Its own reader takes a map `norm_stats` of lists, or null for absent quantiles."""
    stats = {"state": STATE, "actions": ACTIONS}
    file = write_norm_stats(tmp_path / "assets" / "mine", stats)
    assert file == tmp_path / "assets" / "mine" / "norm_stats.json"
    assert json.loads(file.read_text()) == json.loads(OPENPI)
    assert read_norm_stats(tmp_path) == stats
    assert list(file.parent.iterdir()) == [file]


def test_a_lerobot_dataset_is_read_by_openpis_keys(tmp_path: Path) -> None:
    """States and actions; neither images nor indices and times."""
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "stats.json").write_text(json.dumps(LEROBOT))
    found = read_norm_stats(tmp_path)
    assert found == {
        "state": Stats((1.0,), (0.5,), (0.1,), (2.9,)),
        "actions": Stats((1.5,), (0.5,)),
    }
    assert read_norm_stats(tmp_path / "meta" / "stats.json") == found


def test_a_lerobot_checkpoint_is_read_by_its_preprocessor(tmp_path: Path) -> None:
    """The normalizer's own file, which its pipeline names."""
    steps = [
        {"registry_name": "rename_observations_processor", "config": {}},
        {"registry_name": "normalizer_processor", "config": {}, "state_file": "n.safetensors"},
    ]
    (tmp_path / "policy_preprocessor.json").write_text(json.dumps({"name": "p", "steps": steps}))
    tensors = {
        "observation.state.mean": np.array([1, 2], np.float32),
        "observation.state.std": np.array([0.5, 0.25], np.float32),
        "action.mean": np.array([0], np.float32),
        "action.std": np.array([1], np.float32),
        "observation.images.top.mean": np.zeros((3, 1, 1), np.float32),
        "observation.images.top.std": np.ones((3, 1, 1), np.float32),
    }
    with pytest.raises(PolicyError, match=r"n\.safetensors: not readable"):
        read_norm_stats(tmp_path)
    save_file(tensors, tmp_path / "n.safetensors")
    assert read_norm_stats(tmp_path) == {
        "state": Stats((1.0, 2.0), (0.5, 0.25)),
        "actions": Stats((0.0,), (1.0,)),
    }
    (tmp_path / "policy_preprocessor.json").write_text(json.dumps({"steps": steps[:1]}))
    with pytest.raises(PolicyError, match="has 0 normalizer_processor with a file"):
        read_norm_stats(tmp_path)


def test_a_checkpoint_of_ours_is_read_too() -> None:
    """The shipped one, by openpi's keys."""
    from holdfast.policy.checkpoint import SHIPPED, read_stats

    ours = read_stats("conveyor-flow")
    found = read_norm_stats(SHIPPED / "conveyor-flow")
    assert found == {"state": ours.state, "actions": ours.action}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "a list, expected a map"),
        ("{", "not readable as JSON"),
        ("{}", "no mean and std of states or actions"),
        ('{"norm_stats": []}', "norm_stats is a list"),
        ('{"norm_stats": {"state": {"mean": [1], "std": ["x"]}}}', "expected lists of numbers"),
        ('{"norm_stats": {"state": {"mean": [1], "std": [1, 2]}}}', "of .1, 2. values"),
        ('{"norm_stats": {"state": {"mean": [1], "std": [1], "q01": [1]}}}', "of .1. values"),
        ('{"norm_stats": {"state": {"mean": 1, "std": 1}}}', "expected lists of numbers"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str, why: str) -> None:
    """The error has the file and what is wrong with it."""
    file = tmp_path / "norm_stats.json"
    file.write_text(text)
    with pytest.raises(PolicyError, match=why) as caught:
        read_norm_stats(file)
    assert str(file) in str(caught.value)


def test_a_directory_without_statistics_says_what_was_looked_for(tmp_path: Path) -> None:
    """The names of the files; a named asset that is absent is a file that cannot be read."""
    with pytest.raises(PolicyError, match=r"looked for norm_stats\.json, meta/stats\.json"):
        read_norm_stats(tmp_path)
    with pytest.raises(PolicyError, match=r"droid/norm_stats\.json: cannot be read; .* no asset"):
        read_norm_stats(tmp_path, "droid")

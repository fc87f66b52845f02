"""docs/openpi-data.md: the files in its blocks, run as they stand there."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.actors.clients.describe_embodiment import robot_keys
from holdfast.actors.fleet.loading import load
from holdfast.actors.inference import user_policy
from holdfast.errors import StepError
from holdfast.policy.base import Observation
from holdfast.policy.normalize import Stats
from holdfast.policy.steps import DeltaActions, embodiment_of, read_norm_stats, write_norm_stats

PAGE = Path(__file__).parents[1] / "docs" / "openpi-data.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of the page, importable."""
    blocks = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name, _ in blocks:
        sys.modules.pop(Path(name).stem, None)


def module(name: str) -> Any:
    return importlib.import_module(name)


def test_the_policy_of_the_page_serves_liberos_clients(folder: Path) -> None:
    """The fleet file is right, and a network that says 0 gives the middle of the quantiles."""
    samples = [
        {
            "image": np.zeros((6, 8, 3), np.uint8),
            "wrist_image": np.zeros((3, 6, 8), np.float32),
            "state": np.linspace(0, k, 8),
            "actions": np.outer(np.ones(10), np.linspace(-k, 3 * k, 7)),
        }
        for k in range(1, 50)
    ]
    module("stats").measure(samples, folder / "assets")
    stats = read_norm_stats(folder / "assets")
    assert (len(stats["state"].mean), len(stats["actions"].q99)) == (8, 7)
    fleet = load(folder / "fleet.yaml")
    assert fleet.gateway.openpi is not None
    service = fleet.services["pick"]
    policy = user_policy.create(service.policy, service.all_options, str(folder))
    (chunk,) = policy.predict_chunk([policy.spec.example(task="open the drawer")])
    q01, q99 = (np.array(each) for each in (stats["actions"].q01, stats["actions"].q99))
    assert chunk.robot.shape == (10, 7)
    assert np.allclose(chunk.robot, (q01 + q99) / 2, atol=1e-5)


def test_the_policy_of_the_page_gets_what_openpis_model_gets(folder: Path) -> None:
    """State [32], three images of 224 × 224 with masks, and the instruction."""
    one = Stats((0.0,) * 8, (1.0,) * 8, (-1.0,) * 8, (1.0,) * 8)
    write_norm_stats(folder / "assets", {"state": one, "actions": one})
    policy, seen = module("lab_libero").Libero("assets"), {}

    def network(**data: Any) -> Any:
        seen.update(data)
        return np.zeros((10, 32), np.float32)

    policy.network = network
    example = policy.spec.example(task="go")
    policy.predict_chunk([example])
    assert seen["image"]["base_0_rgb"] is example.images["image"]
    assert seen["state"].shape == (32,)
    assert {name: image.shape for name, image in seen["image"].items()} == dict.fromkeys(
        ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb"), (224, 224, 3)
    )
    assert [bool(mask) for mask in seen["image_mask"].values()] == [True, True, False]
    assert seen["prompt"] == "go"


def test_the_robot_of_the_page_is_named_in_a_fleet_file(folder: Path) -> None:
    """Its keys are read without importing it here; its steps are inverse to each other."""
    keys = robot_keys("lab_robot:ARM", str(folder))
    assert "lab_robot" not in sys.modules
    arm = embodiment_of("lab_robot:ARM")
    assert arm.keys == keys
    image = np.full((6, 8, 3), 5, np.uint8)
    actions = np.arange(12, dtype=np.float32).reshape(3, 4)
    observation = Observation(
        np.array([1, 2, 3, 4], np.float32), {"top": image, "hand": image}, prefix_robot=actions
    )
    pair = arm.pipeline("pi05")
    data = pair.before(arm.observed(observation))
    assert data["actions"][0, :5].tolist() == [-1, -1, -1, 3, 0]
    assert np.array_equal(pair.after(data)["actions"], actions)


def test_the_error_of_the_page_is_the_one_that_is_raised() -> None:
    """The page quotes it word for word."""
    with pytest.raises(StepError) as caught:
        DeltaActions([True])({"actions": np.zeros((10, 4), np.float32)})
    assert f"`{caught.value}`" in PAGE.read_text()

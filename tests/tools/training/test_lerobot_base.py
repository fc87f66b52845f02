"""A training that begins with LeRobot's own directory of π0 or π0.5, by the command, and what it
serves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from holdfast.policy.base import Observation
from holdfast.policy.checkpoint import read_weights
from holdfast.policy.pi0.pi_policy import PiPolicy
from holdfast.policy.pi0.word_pieces import HUB, JSON
from holdfast.robot.dataset.recording_schema import RecordingSchema
from holdfast.tests.peers.lerobot_checkpoints import EnvironmentFor, MakeCheckpoints
from holdfast.tests.policy.pi0.test_served_parity import SIZES
from holdfast.tests.robot.dataset.recordings import dataset
from holdfast.tests.tools.training.small_pi_trainings import KINDS
from holdfast.tests.tools.training.train_commands import trained

torch.set_num_threads(1)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOINTS = tuple(f"joint_{number}" for number in range(7))
ROBOT = RecordingSchema(
    30, JOINTS, JOINTS[:5], {"overhead": (72, 96), "wrist": (72, 96)}, robot_type="arm"
)
KEYS = ("chunk_size=20", "batch=2", "network.euler_steps=2", "limit_actions=false")

Tune = Callable[..., Path]


@pytest.fixture(scope="module")
def bases(
    checkpoints_of: MakeCheckpoints,
    lerobot_environment: EnvironmentFor,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The directories as the library saved them, with the small sizes, which it has no fields for,
    and its tokenizer."""
    hub = Path(lerobot_environment("pi0")["HF_HOME"]) / "hub"
    found = {}
    for place in checkpoints_of(*KINDS):
        folder = tmp_path_factory.mktemp("base") / place.name
        shutil.copytree(place, folder)
        config = json.loads((folder / "config.json").read_text())
        config["architecture"] = msgspec.to_builtins(SIZES)
        (folder / "config.json").write_text(json.dumps(config))
        (tokenizer,) = (hub / f"models--{HUB.replace('/', '--')}").glob(f"snapshots/*/{JSON}")
        shutil.copy(tokenizer, folder / JSON)
        found[place.name] = folder
    return found


@pytest.fixture(scope="module")
def tune(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Tune:
    """Trains a family's base on a recording of the same robot."""
    base = tmp_path_factory.mktemp("recorded")
    dataset(base / "arm", ROBOT, lengths=(6, 5))

    def run(kind: str, *keys: str) -> Path:
        out = tmp_path_factory.mktemp("run")
        given = ["--dataset", str(base / "arm"), "--data", str(base / "data"), "--out", str(out)]
        done = trained(kind, *given, f"base={bases[kind]}", *KEYS, *keys)
        assert done.exit_code == 0, done.output
        return out

    return run


def chunk_of(policy: PiPolicy, level: int = 90) -> NDArray[np.float32]:
    """For images of one grey: the library and openpi resize others by different filters."""
    images = {c.name: np.full((c.height, c.width, 3), level, np.uint8) for c in policy.spec.cameras}
    state = np.linspace(-0.5, 0.5, len(JOINTS), dtype=np.float32)
    asked = Observation(state=state, images=images, task="pick the red parcel", seed=5)
    (chunk,) = policy.predict_chunk([asked])
    return chunk.robot


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_changes_nothing_serves_the_chunks_of_its_base(
    kind: str, bases: dict[str, Path], tune: Tune
) -> None:
    """Weights, statistics, text and sizes are the base's, within 1e-4 of the largest action."""
    run = tune(kind, "statistics=base", "rate=1e-12", "steps=1")
    base = KINDS[kind](str(bases[kind]), action_names=JOINTS[:5], state_names=JOINTS, fps=30)
    before, after = chunk_of(base), chunk_of(KINDS[kind](str(run)))
    np.testing.assert_allclose(after, before, atol=1e-4 * float(np.abs(before).max()))
    assert float(np.abs(chunk_of(base, 200) - before).max()) > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_base_or_adapters_alone_are_trained_and_served(
    kind: str, bases: dict[str, Path], tune: Tune
) -> None:
    """In full words and layers change; with adapters the layers that have some, not the words."""
    given = {name.removeprefix("model."): each for name, each in read_weights(bases[kind]).items()}
    adapters = ("lora.rank=2", "lora.alpha=2", "freeze=words.*,language.*,expert.*", "ema=0")
    for keys in ((), adapters):
        run = tune(kind, "rate=1e-3", "steps=3", "warmup_steps=1", *keys)
        stored = read_weights(run)
        moved = {name for name, each in stored.items() if not np.array_equal(each, given[name])}
        words = [name for name in moved if "embed_tokens" in name]
        layers = "paligemma_with_expert.gemma_expert.model.layers.1.self_attn"
        assert f"{layers}.q_proj.weight" in moved and bool(words) != bool(keys), moved
        assert np.isfinite(chunk_of(KINDS[kind](str(run)))).all()

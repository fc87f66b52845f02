"""Whole policies beside LeRobot's, from pixels to actions: the same files and observations."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from holdfast.policy.base import Observation
from holdfast.policy.pi0.architecture import GemmaSizes, VisionSizes
from holdfast.policy.pi0.pi_policy import Pi0Policy, Pi05Policy, PiPolicy
from holdfast.policy.pi0.word_pieces import HUB, JSON
from holdfast.tests.peers.lerobot_checkpoints import Asked, Direct, EnvironmentFor, MakeCheckpoints

torch.set_num_threads(1)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = ("pi0", "pi0-relative", "pi05", "pi05-relative")
GEMMA = GemmaSizes(width=32, layers=2, mlp=32, heads=2, key_heads=1, head=16)
SIZES = {
    "vision": VisionSizes(width=32, layers=1, heads=2, mlp=32, pixels=56),
    "language": GEMMA,
    "expert": GEMMA,
    "words": 512,
}
"""Those of tests/peers/lerobot_policy_small_gemma.py."""

SETTINGS: dict[str, Any] = {
    "schedule": "linear",
    "clip": 10.0,
    "execution_horizon": 8,
    "jacobian": "identity",
}
"""Those of the checkpoints' RTCConfig. The library differentiates a velocity that was computed
before its input required gradients: the network's Jacobian counts as the identity."""

Both = dict[str, tuple[NDArray[np.float32], PiPolicy, list[Observation]]]


def planned(policy: PiPolicy, observation: Observation) -> Observation:
    """With a plan whose two forms are one: the library takes the model's of absolute actions and
    the robot's of relative ones, ours takes the robot's."""
    assert observation.prefix is not None
    given = {"state": observation.state, "actions": observation.prefix}
    robot = policy.steps.after(given)["actions"].astype(np.float32)
    return replace(observation, prefix_robot=robot)


def observations(policy: PiPolicy) -> list[Observation]:
    """Without a plan, and with plans of different lengths, delays and settings."""
    tasks = ("pick the red parcel", "", "pick", "red parcel", "pick the red parcel")
    made = [policy.spec.example(seed, task) for seed, task in enumerate(tasks)]
    made = [replace(each, state=each.state * 0.6) for each in made]
    first = made[0]
    second, third, fourth, fifth = (planned(policy, each) for each in made[1:])
    assert third.prefix is not None and third.prefix_robot is not None
    return [
        replace(first, prefix=None, prefix_robot=None),
        second,
        replace(third, prefix=third.prefix[:5], prefix_robot=third.prefix_robot[:5]),
        replace(fourth, delay_steps=0),
        replace(fifth, execution_horizon=6, guidance_schedule="exp", guidance_clip=2.0),
    ]


@pytest.fixture(scope="module")
def both(
    checkpoints_of: MakeCheckpoints,
    direct: Direct,
    lerobot_environment: EnvironmentFor,
    tmp_path_factory: pytest.TempPathFactory,
) -> Both:
    """What the library gives for each of a checkpoint's observations, and our policy of it."""
    places = checkpoints_of(*NAMES)
    cache = (
        Path(lerobot_environment("pi0")["HF_HOME"]) / "hub" / f"models--{HUB.replace('/', '--')}"
    )
    (tokenizer,) = cache.glob(f"snapshots/*/{JSON}")
    policies = []
    for place in places:
        folder = tmp_path_factory.mktemp(place.name) / place.name
        shutil.copytree(place, folder)
        config = json.loads((folder / "config.json").read_text())
        config["architecture"] = msgspec.to_builtins(SIZES)
        (folder / "config.json").write_text(json.dumps(config))
        kind = Pi05Policy if place.name.startswith("pi05") else Pi0Policy
        policies.append(kind(str(folder), tokenizer=str(tokenizer), **SETTINGS))
    given = [observations(policy) for policy in policies]
    asked: list[Asked] = list(zip(places, given, strict=True))
    return dict(zip(NAMES, zip(direct(asked), policies, given, strict=True), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_chunk_is_that_of_lerobot(name: str, both: Both) -> None:
    """Texts, images, statistics, noise, guidance and relative actions, within 1e-4."""
    theirs, policy, given = both[name]
    ours = np.stack([policy.predict_chunk([each])[0].robot for each in given])
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * float(np.abs(theirs).max()))
    assert float(np.abs(theirs[0] - theirs[1]).max()) > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_gives_what_each_gets_alone(name: str, both: Both) -> None:
    """Prompts of different lengths, plans of different delays and settings."""
    _, policy, given = both[name]
    alone = np.stack([policy.predict_chunk([each])[0].robot for each in given])
    together = np.stack([chunk.robot for chunk in policy.predict_chunk(given)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)

"""π0 and π0.5 beside LeRobot's, from a block to a chunk, with the same weights and inputs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.policy.pi0.denoising import Denoising
from holdfast.policy.pi0.flow_loss import flow_loss
from holdfast.policy.pi0.gemma import rotation_at
from holdfast.policy.pi0.pali_gemma import Prefix, score_bias
from holdfast.policy.pi0.pi_network import PiNetwork
from holdfast.policy.pi0.tensor_names import WORDS, WORDS_OUT, published_name
from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.peers.small_pi0 import BATCH, EULER_STEPS, TRAINED, inputs

from .conftest import NetworkOf, weighted

PROGRAM = Path(__file__).parents[2] / "peers" / "lerobot_pi0_program.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FolderOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> FolderOf:
    """LeRobot's own directory of a family, with what it computed in computed.npz."""
    interpreter = interpreter_of("lerobot-0.6")
    base = tmp_path_factory.mktemp("lerobot")
    path = str(importable(base / "path"))

    @cache
    def make(family: str) -> Path:
        folder = base / family
        folder.mkdir()
        environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
        command = [str(interpreter), "-P", str(PROGRAM), family, str(folder)]
        subprocess.run(command, check=True, timeout=580, env=environment)
        return folder

    return make


def given(family: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in inputs(family).items()}


def prefix_of(network: PiNetwork, now: dict[str, Tensor]) -> Prefix:
    views = (now["left"], now["right"])
    return network.prefix(views, now["image_counts"], now["tokens"], now["token_counts"])


def differ(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("family", ["pi0", "pi05"])
def test_each_part_and_the_whole_sample_are_those_of_lerobot(
    family: str, folder_of: FolderOf, network_of: NetworkOf
) -> None:
    """Image, block, prefix cache and velocity within 1e-4, the chunk of ten steps within 1e-2."""
    with np.load(folder_of(family) / "computed.npz") as file:
        theirs = {name: torch.from_numpy(file[name]) for name in file.files}
    network, now = network_of(family), given(family)
    assert differ(network.vision(now["left"]), theirs["image"]) < 1e-4

    prefix = prefix_of(network, now)
    counts = prefix.counts
    seen = counts[:, None, :] & counts[:, :, None]
    sizes = network.architecture.language
    rotation = rotation_at(counts.cumsum(1) - 1, sizes.head, torch.float32)
    bias = score_bias(seen, torch.float32, sizes.shared)
    block, _ = network.language.blocks[0](theirs["embedded"], rotation, bias)
    assert differ(block[counts], theirs["block"][counts]) < 1e-4

    for k, name in enumerate(("keys", "values")):
        ours = torch.stack([layer[k] for layer in prefix.layers])
        # By layer and head the tokens that count: [layers, heads, tokens, head].
        where = counts[None, :, None, :, None].expand_as(ours)
        assert differ(ours[where], theirs[name][where]) < 1e-4

    time = torch.full((BATCH, 1), 0.7)
    velocity = network.velocity(prefix, now["noise"], time, now["state"])
    assert differ(velocity, theirs["velocity"]) < 1e-4
    suffix = network.suffix(prefix, now["state"], now["noise"].shape[1])
    chunk = Denoising(network, EULER_STEPS).free(suffix, now["noise"])
    assert differ(chunk, theirs["chunk"]) < 1e-2
    assert differ(chunk, now["noise"]) > 0.1  # The steps lead somewhere.


@pytest.mark.parametrize("family", ["pi0", "pi05"])
def test_the_loss_of_training_and_its_gradients_are_those_of_lerobot(
    family: str, folder_of: FolderOf
) -> None:
    """Same weights, noise and times: both agree within 1e-4, and what has no gradient."""
    with np.load(folder_of(family) / "computed.npz") as file:
        theirs = {name: torch.from_numpy(file[name]) for name in file.files}
    network, now = weighted(TRAINED[family]).requires_grad_(requires_grad=True), given(family)
    everything = torch.ones(now["chunk"].shape[:2], dtype=torch.bool)
    loss = flow_loss(
        network,
        prefix_of(network, now),
        now["state"],
        now["chunk"],
        None,
        everything,
        now["time"],
        now["noise"],
    )
    assert float(loss.detach()) == pytest.approx(float(theirs["losses"].mean()), rel=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    # A bias of keys has a gradient of rounding errors: the same is added to all scores.
    largest = max(float(v.abs().max()) for k, v in theirs.items() if k.startswith("gradient "))
    compared = 0
    for name, weight in network.named_parameters():
        published = published_name(name, network.architecture.family)
        tied = f"gradient {WORDS_OUT}" if published == WORDS else ""
        expected = theirs.get(f"gradient {published}", theirs.get(tied))
        if weight.grad is None:  # The last layer's output of the language model is not used.
            assert expected is None or not expected.any(), name
        if weight.grad is not None and expected is not None:
            scale = max(float(expected.abs().max()), 1e-5 * largest)
            assert float((weight.grad - expected).abs().max()) < 1e-4 * scale, name
            compared += 1
    assert compared > 100

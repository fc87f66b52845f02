"""π0 and π0.5 beside openpi's own PyTorch files: what these computed lies in `openpi/`, written by
`tests/peers/openpi_fixtures_program.py` with the same weights and inputs."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.policy.base import Observation
from holdfast.policy.pi0.architecture import Family, FlowFamily
from holdfast.policy.pi0.checkpoint_layout import PROMPT_TOKENS
from holdfast.policy.pi0.denoising import Denoising
from holdfast.policy.pi0.gemma import rotation_at
from holdfast.policy.pi0.image_preparation import prepared
from holdfast.policy.pi0.pali_gemma import Prefix, score_bias
from holdfast.policy.pi0.pi_model import PiModel
from holdfast.policy.pi0.pi_network import PiNetwork
from holdfast.policy.pi0.pi_policy import Pi0Policy, Pi05Policy, PiPolicy
from holdfast.policy.pi0.prompt_text import texts_of, tokens_of
from holdfast.policy.pi0.tensor_names import UNUSED, WORDS_OUT, published_name
from holdfast.policy.pi0.word_pieces import SentencePieces
from holdfast.policy.steps import ResizeImages, write_norm_stats
from holdfast.tests.peers import openpi_cases as cases
from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.peers.small_pi0 import BATCH, EULER_STEPS, TASKS, TRAINED, inputs, states
from holdfast.tests.peers.small_pi_checkpoint import write_openpi_checkpoint

from .conftest import weighted

torch.set_num_threads(1)

FIXTURES = Path(__file__).with_name("openpi")
PROGRAM = Path(__file__).parents[2] / "peers" / "openpi_fixtures_program.py"
COMMIT = "15a9616a00943ada6c20a0f158e3adb39df2ccac"
FAMILIES = cases.FAMILIES
KINDS: dict[str, type[PiPolicy]] = {"pi0": Pi0Policy, "pi05": Pi05Policy}


@cache
def theirs(name: str) -> dict[str, NDArray[Any]]:
    """What openpi's files computed."""
    with np.load(FIXTURES / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


@cache
def network_of(family: FlowFamily) -> PiNetwork:
    return weighted(TRAINED[family])


@cache
def given(family: FlowFamily) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in inputs(family).items()}


@cache
def prefix_of(family: FlowFamily) -> Prefix:
    """Of two views; openpi's model sees a third one too, which is masked."""
    now = given(family)
    views = (now["left"], now["right"])
    return network_of(family).prefix(views, now["image_counts"], now["tokens"], now["token_counts"])


def differ(ours: Tensor, name: str, family: FlowFamily) -> float:
    """The largest difference, relative to the largest value."""
    other = torch.from_numpy(theirs(family)[name])
    assert ours.shape == other.shape
    return float((ours - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_of_openpis_model_has_a_place_in_ours(family: FlowFamily) -> None:
    """By name, and the other way round; the words stand under two names."""
    ours = {published_name(name, family) for name in network_of(family).state_dict()}
    assert {*theirs(family)["names"].tolist()} == {*ours, WORDS_OUT, *UNUSED}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_a_text_and_a_block_are_those_of_openpi(family: FlowFamily) -> None:
    """Within 1e-5. Nothing scales the tokens of an image, the root of the width those of a text."""
    network, now, counts = network_of(family), given(family), prefix_of(family).counts
    image = network.vision(now["left"])
    assert differ(image, "image", family) < 1e-5
    text = network.embedded(now["tokens"])
    assert differ(text, "embedded", family) < 1e-5
    seen = counts[:, None, :] & counts[:, :, None]
    sizes = network.architecture.language
    rotation = rotation_at(counts.cumsum(1) - 1, sizes.head, torch.float32)
    bias = score_bias(seen, torch.float32, sizes.shared)
    x = torch.cat((image, network.vision(now["right"]), text), dim=1)
    block, _ = network.language.blocks[0](x, rotation, bias)
    other = torch.from_numpy(theirs(family)["block"])[counts]
    assert float((block[counts] - other).abs().max() / other.abs().max()) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prefix_cache_is_that_of_openpi(family: FlowFamily) -> None:
    """Keys and values of the last layer, of every token that counts, within 1e-4."""
    prefix = prefix_of(family)
    for ours, name in zip(prefix.layers[-1], ("keys", "values"), strict=True):
        where = prefix.counts[:, None, :, None].expand_as(ours)
        other = torch.from_numpy(theirs(family)[name])
        assert float((ours - other)[where].abs().max() / other[where].abs().max()) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_velocity_a_chunk_and_the_loss_are_those_of_openpi(family: FlowFamily) -> None:
    """One step and the loss within 1e-4, a chunk of ten steps within 1e-4."""
    network, now, prefix = network_of(family), given(family), prefix_of(family)
    time = torch.full((BATCH, 1), 0.7)
    velocity = network.velocity(prefix, now["noise"], time, now["state"])
    assert differ(velocity, "velocity", family) < 1e-4
    suffix = network.suffix(prefix, now["state"], now["noise"].shape[1])
    chunk = Denoising(network, EULER_STEPS).free(suffix, now["noise"])
    assert differ(chunk, "chunk", family) < 1e-4
    training = {k: torch.from_numpy(v) for k, v in cases.loss_inputs(family).items()}
    time, actions = training["time"][:, None], training["actions"]
    noisy = time[..., None] * now["noise"] + (1 - time[..., None]) * actions
    aim = now["noise"] - actions
    loss = (network.velocity(prefix, noisy, time, now["state"]) - aim).square()
    assert differ(loss, "loss", family) < 1e-4


@pytest.mark.parametrize("family", get_args(Family))
def test_the_tokens_of_a_request_are_those_of_openpi(family: Family, tmp_path: Path) -> None:
    """Of tasks with spaces, underscores, newlines and capitals, and states beyond -1 and 1."""
    known = theirs("texts")
    (tmp_path / "tokenizer.model").write_bytes(known["vocabulary"].tobytes())
    pieces = SentencePieces(tmp_path / "tokenizer.model")
    for k, (task, state) in enumerate(zip(TASKS, states(), strict=True)):
        texts = texts_of(family, "openpi", task, None if family == "pi0" else state)
        ours = tokens_of(pieces, texts, PROMPT_TOKENS[family])
        assert ours == known[f"{family}.{k}"].tolist(), repr(task)


def test_an_image_is_prepared_as_openpi_does_to_the_bit() -> None:
    """Pillow's filter in bytes, black around it, and each byte as the same number."""
    side = TRAINED["pi0"].vision.pixels
    image = cases.requests()[0].image
    resized = ResizeImages(side, side)({"image": {"base_0_rgb": image}})["image"]["base_0_rgb"]
    assert np.array_equal(resized, theirs("images")["resized"])
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3)
    assert torch.equal(prepared(ramp, 16)[0, 0], torch.from_numpy(theirs("images")["ramp"]))


@pytest.mark.parametrize("name", cases.SERVED)
def test_a_served_chunk_is_that_of_openpis_policy(name: str, tmp_path: Path) -> None:
    """From bytes of images and a text to LIBERO's actions, within 1e-3 of each action's spread."""
    family, reads_state = cases.SERVED[name]
    sizes = TRAINED[family]
    folder = write_openpi_checkpoint(tmp_path / name, family, architecture=sizes)
    (folder / "tokenizer.model").write_bytes(theirs("texts")["vocabulary"].tobytes())
    write_norm_stats(folder / "assets" / "lab", cases.STATS)
    reads: dict[str, Any] = {"discrete_state_input": reads_state} if family == "pi05" else {}
    policy = KINDS[family](
        str(folder),
        mapping="libero",
        camera_size=(48, 32),
        prefix="none",
        euler_steps=EULER_STEPS,
        **reads,
    )
    assert isinstance(policy._model, PiModel)
    asked = [
        Observation(
            request.state,
            {"image": request.image, "wrist_image": request.wrist_image},
            request.prompt,
            seed=request.seed,
        )
        for request in cases.requests()
    ]
    ours = np.stack([chunk.robot for chunk in policy.predict_chunk(asked)])
    other = theirs(f"served_{name}")["actions"]
    spread = other.std(axis=(0, 1))
    assert (spread > 0).all()
    np.testing.assert_array_less(np.abs(ours - other).max(axis=(0, 1)) / spread, 1e-3)


@pytest.mark.parametrize("file", sorted(FIXTURES.glob("*.npz")), ids=lambda file: file.stem)
def test_a_fixture_names_its_source(file: Path) -> None:
    """openpi's commit, with the versions of what ran it."""
    assert str(theirs(file.stem)["source"]).startswith(f"openpi {COMMIT}, torch ")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_fixtures_are_what_openpis_files_compute(tmp_path: Path) -> None:
    """Written again from the folder $HOLDFAST_OPENPI, where that and the environment are."""
    folder = os.environ.get("HOLDFAST_OPENPI")
    if folder is None:
        pytest.skip("needs openpi's files: name their folder by HOLDFAST_OPENPI")
    python = interpreter_of("openpi-torch")
    path = {"PYTHONPATH": str(importable(tmp_path / "path")), "JAX_PLATFORMS": "cpu"}
    command = [str(python), "-P", str(PROGRAM), folder, COMMIT, str(tmp_path / "again")]
    subprocess.run(command, check=True, timeout=280, env={**os.environ, **path})
    for file in FIXTURES.glob("*.npz"):
        with np.load(tmp_path / "again" / file.name) as again:
            for key, value in theirs(file.stem).items():
                if value.dtype.kind == "f":
                    np.testing.assert_allclose(again[key], value, atol=1e-5)
                elif key != "source":
                    assert np.array_equal(again[key], value), f"{file.name}: {key}"

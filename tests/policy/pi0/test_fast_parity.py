"""π0-FAST beside LeRobot's, with the same weights and inputs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.policy.pi0.fast_network import FastNetwork, StaticCache
from holdfast.policy.pi0.pali_gemma import Prefix
from holdfast.policy.pi0.pi_weights import load_network
from holdfast.policy.pi0.prompt_text import texts_of
from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.peers.small_pi0 import (
    BEGIN,
    DECODED,
    SMALL,
    TASKS,
    action_words,
    inputs,
    states,
)

PROGRAM = Path(__file__).parents[2] / "peers" / "lerobot_pi0_fast_program.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeRobot's weights, and what it computed in computed.npz."""
    interpreter = interpreter_of("lerobot-0.6")
    base = tmp_path_factory.mktemp("lerobot")
    environment = {
        **os.environ,
        "PYTHONPATH": str(importable(base / "path")),
        "HF_HUB_OFFLINE": "1",
    }
    command = [str(interpreter), "-P", str(PROGRAM), str(base)]
    subprocess.run(command, check=True, timeout=580, env=environment)
    return base


@pytest.fixture(scope="module")
def theirs(folder: Path) -> dict[str, NDArray[Any]]:
    with np.load(folder / "computed.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def network(folder: Path) -> FastNetwork:
    """With the weights of LeRobot's file, each tensor in its place."""
    cpu = torch.device("cpu")
    return load_network(FastNetwork, folder, SMALL["pi0_fast"], cpu, torch.float32)


def prefix_of(network: FastNetwork, then: int | None = None) -> Prefix:
    """Of the inputs, with the word `then` after each text."""
    now = {name: torch.from_numpy(value) for name, value in inputs("pi0_fast").items()}
    tokens, counts = now["tokens"], now["token_counts"]
    if then is not None:
        tokens = torch.cat((tokens, torch.full((len(tokens), 1), then)), dim=1)
        counts = torch.cat((counts, torch.ones(len(counts), 1, dtype=torch.bool)), dim=1)
    return network.prefix((now["left"], now["right"]), now["image_counts"], tokens, counts)


def test_the_scores_of_each_word_are_those_of_lerobot(
    network: FastNetwork, theirs: dict[str, NDArray[Any]]
) -> None:
    """After the words of an answer, within 1e-4 of the largest, and so the loss of training."""
    words = torch.from_numpy(action_words())
    cache = StaticCache(prefix_of(network), words.shape[1])
    scores: Tensor = network.words_out(network.extend(cache, words, cache.places))
    expected = torch.from_numpy(theirs["scores"])
    assert float((scores - expected).abs().max() / expected.abs().max()) < 1e-4
    loss = torch.nn.functional.cross_entropy(scores[:, :-1].flatten(0, 1), words[:, 1:].flatten())
    assert float(loss) == pytest.approx(float(theirs["loss"]), rel=1e-4)


def test_words_that_are_chosen_freely_are_those_of_lerobot(
    network: FastNetwork, theirs: dict[str, NDArray[Any]]
) -> None:
    """One after another, each in its place of the cache."""
    cache = StaticCache(prefix_of(network, BEGIN), DECODED)
    # The first word follows from the last of the text, which the prefix does not keep.
    word = torch.from_numpy(theirs["free"])[:, :1]
    for k in range(1, DECODED):
        word = network.words_out(network.extend(cache, word, cache.places[k - 1 : k])).argmax(-1)
        assert word[:, 0].tolist() == theirs["free"][:, k].tolist(), f"word {k}"


def test_the_text_is_that_of_lerobot(theirs: dict[str, NDArray[Any]]) -> None:
    """Of tasks with spaces, underscores and newlines, and states beyond -1 and 1."""
    ours = [
        "".join(texts_of("pi0_fast", "lerobot", task, state))
        for task, state in zip(TASKS, states(), strict=True)
    ]
    assert ours == theirs["texts"].tolist()

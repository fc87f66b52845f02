"""openpi's JAX checkpoints as directories that are served."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.errors import PolicyError
from holdfast.policy.pi0.checkpoint_layout import read_layout
from holdfast.policy.pi0.fast_network import FastNetwork
from holdfast.policy.pi0.gemma import Gemma, GemmaBlock
from holdfast.policy.pi0.pali_gemma import PaliGemma
from holdfast.policy.pi0.pi_network import PiNetwork
from holdfast.policy.pi0.pi_options import PiOptions
from holdfast.policy.pi0.pi_weights import load_network
from holdfast.policy.pi0.vision_tower import VisionBlock
from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.peers.small_jax_pi0 import parameters
from holdfast.tests.peers.small_pi0 import FAMILIES, SMALL
from holdfast.tools.convert_checkpoint import converted, main, write

NETWORKS: dict[str, type[PaliGemma]] = {
    "pi0": PiNetwork,
    "pi05": PiNetwork,
    "pi0_fast": FastNetwork,
}


def loaded(folder: Path, family: str) -> PaliGemma:
    """The network of a converted directory, as the policy loads it."""
    layout = read_layout(str(folder), SMALL[family].family, PiOptions())
    cpu = torch.device("cpu")
    return load_network(NETWORKS[family], folder, layout.architecture, cpu, torch.float32)


def close(ours: Tensor, theirs: NDArray[Any]) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-4, atol=1e-4)


def gemma_is(given: dict[str, NDArray[Any]], ours: Gemma, which: str, k: int) -> None:
    """By the einsums of openpi's modules, for layer `k`."""
    x = np.random.default_rng(k).standard_normal((2, 3, ours.sizes.width)).astype(np.float32)
    block, rows = ours.blocks[k], torch.from_numpy(x)
    assert isinstance(block, GemmaBlock)
    path = "PaliGemma/llm/layers"
    query = np.einsum("btd,ndh->btnh", x, given[f"{path}/attn/q_einsum{which}/w/value"][k])
    close(block.query(rows), query.reshape(2, 3, -1))
    both = np.einsum("bsd,ckdh->cbskh", x, given[f"{path}/attn/kv_einsum{which}/w/value"][k])
    close(block.key(rows), both[0].reshape(2, 3, -1))
    close(block.value(rows), both[1].reshape(2, 3, -1))
    out = given[f"{path}/attn/attn_vec_einsum{which}/w/value"][k]
    close(
        block.out(torch.from_numpy(query.reshape(2, 3, -1))), np.einsum("btnh,nhd->btd", query, out)
    )
    gates = given[f"{path}/mlp{which}/gating_einsum/value"][k]
    close(block.gate(rows), x @ gates[0])
    close(block.up(rows), x @ gates[1])
    close(block.down(block.up(rows)), (x @ gates[1]) @ given[f"{path}/mlp{which}/linear/value"][k])


@pytest.mark.parametrize("family", FAMILIES)
def test_each_layer_computes_what_openpis_module_does(family: str, tmp_path: Path) -> None:
    """Projections to heads, gates, dense layers and norms, of every stack and its last layer."""
    given = parameters(family)
    tensors, config = converted(given, steps=SMALL[family].steps)
    write(tmp_path / "it", tensors, config, None)
    network = loaded(tmp_path / "it", family)
    gemma_is(given, network.language, "", 3)
    block = network.vision.blocks[1]
    assert isinstance(block, VisionBlock)
    x = np.random.default_rng(0).standard_normal((2, 9, SMALL[family].vision.width))
    x = x.astype(np.float32)
    vision = "PaliGemma/img/Transformer/encoderblock"
    attention = f"{vision}/MultiHeadDotProductAttention_0"
    query = np.einsum("btd,dnh->btnh", x, given[f"{attention}/query/kernel/value"][1])
    query += given[f"{attention}/query/bias/value"][1]
    close(block.query(torch.from_numpy(x)), query.reshape(2, 9, -1))
    out = np.einsum("btnh,nhd->btd", query, given[f"{attention}/out/kernel/value"][1])
    out += given[f"{attention}/out/bias/value"][1]
    close(block.out(torch.from_numpy(query.reshape(2, 9, -1))), out)
    close(network.vision.places.weight, given["PaliGemma/img/pos_embedding/value"][0])
    if isinstance(network, PiNetwork):
        gemma_is(given, network.expert, "_1", 3)
        actions = np.ones((1, SMALL[family].actions), np.float32)
        into = actions @ given["action_in_proj/kernel/value"] + given["action_in_proj/bias/value"]
        close(network.head.actions_in(torch.from_numpy(actions)), into)


def test_what_has_no_place_is_named_and_nothing_is_written() -> None:
    """Weights of LoRA are to be merged first; a missing parameter is named by its path."""
    more = parameters("pi0") | {"PaliGemma/llm/layers/attn/q_einsum/lora_a/value": np.zeros(3)}
    with pytest.raises(PolicyError, match="q_einsum/lora_a have no place in pi0: merge the LoRA"):
        converted(more, 10)
    fewer = parameters("pi05")
    del fewer["PaliGemma/img/head/bias/value"]
    with pytest.raises(PolicyError, match="lack 'PaliGemma/img/head/bias'"):
        converted(fewer, 10)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{place}", "{place}/new"], "the following arguments are required: --steps"),
        (["{place}", "{place}/new", "--steps", "0"], "--steps: found 0, expected 1 or more"),
        (["{place}", "{place}", "--steps", "10"], "is not empty: name a directory"),
    ],
)
def test_a_wrong_command_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what was found and what to do."""
    (tmp_path / "params").mkdir()
    with pytest.raises(SystemExit) as ended:
        main([word.format(place=tmp_path) for word in words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


WRITE = """
import sys
from pathlib import Path
import numpy as np
import orbax.checkpoint as ocp
from holdfast.tests.peers.small_jax_pi0 import parameters
tree = {}
for path, value in parameters(sys.argv[2]).items():
    *parts, last = path.split("/")
    place = tree
    for part in parts:
        place = place.setdefault(part, {})
    place[last] = value
checkpointer = ocp.PyTreeCheckpointer()
checkpointer.save(Path(sys.argv[1]).resolve() / "params", {"params": tree})
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", ["pi05", "pi0_fast"])
def test_a_tree_that_orbax_wrote_is_converted(family: str, tmp_path: Path) -> None:
    """By the command, in an interpreter that has orbax; statistics come along."""
    python = str(interpreter_of("orbax"))
    place, output = tmp_path / "jax", tmp_path / "converted"
    (place / "assets" / "lab").mkdir(parents=True)
    (place / "assets" / "lab" / "norm_stats.json").write_text("{}")
    environment = {**os.environ, "PYTHONPATH": str(importable(tmp_path / "path"))}
    module = "holdfast.tools.convert_checkpoint"
    for command in (
        [python, "-P", "-c", WRITE, str(place), family],
        [python, "-P", "-m", module, str(place), str(output), "--steps", "10"],
    ):
        done = subprocess.run(
            command, check=False, timeout=240, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert "tensors" in done.stdout
    assert json.loads((output / "config.json").read_text())["action_horizon"] == 10
    assert (output / "assets" / "lab" / "norm_stats.json").is_file()
    network = loaded(output, family)
    expected, _ = converted(parameters(family), 10)
    words = torch.from_numpy(parameters(family)["PaliGemma/llm/embedder/input_embedding/value"])
    assert torch.equal(network.words.weight, words)
    assert len(expected) > 50

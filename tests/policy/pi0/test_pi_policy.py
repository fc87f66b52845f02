"""`policy: pi0` and `pi05` from openpi's files: what is read, what is refused, what a chunk is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from holdfast.errors import PolicyError
from holdfast.policy.base import Chunk, Observation
from holdfast.policy.pi0.pi_policy import Pi0Policy, Pi05Policy, PiPolicy
from holdfast.policy.pi0.prompt_text import texts_of, tokens_of
from holdfast.policy.pi0.word_pieces import SentencePieces, read_word_pieces
from holdfast.tests.peers.small_pi_checkpoint import STEPS, trained_pieces, write_openpi_checkpoint

KINDS: dict[str, type[PiPolicy]] = {"pi0": Pi0Policy, "pi05": Pi05Policy}
FAMILIES = [*KINDS]
LIBERO: dict[str, Any] = {"mapping": "libero", "camera_size": (48, 32), "euler_steps": 2}

FolderOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> FolderOf:
    """The small checkpoint of a family."""
    base = tmp_path_factory.mktemp("pi")
    return cache(lambda family: write_openpi_checkpoint(base / family, family))


def policy_of(folder: Path, family: str, **options: Any) -> PiPolicy:
    return KINDS[family](str(folder), **{**LIBERO, **options})


def examples(policy: PiPolicy) -> list[Observation]:
    tasks = ("pick the red parcel", "open the drawer", "")
    made = [policy.spec.example(seed, task) for seed, task in enumerate(tasks)]
    return [replace(each, state=each.state * 0.3) for each in made]


def robot_of(chunks: list[Chunk]) -> NDArray[np.float32]:
    return np.stack([chunk.robot for chunk in chunks])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["none", "guided", "trained"])
def test_a_batch_gives_what_each_gets_alone(family: str, how: str, folder_of: FolderOf) -> None:
    """Prompts of different lengths, plans and delays; the same request gives the same bytes."""
    trained = {"trained_steps": 6} if how == "trained" else {}
    policy = policy_of(folder_of(family), family, prefix=how, **trained)
    given = examples(policy)
    given[2] = replace(given[2], delay_steps=0)
    alone = robot_of([policy.predict_chunk([each])[0] for each in given])
    assert alone.shape == (3, STEPS, 7)
    np.testing.assert_allclose(robot_of(policy.predict_chunk(given)), alone, rtol=1e-4, atol=1e-5)
    assert policy.predict_chunk(given[:1])[0].robot.tobytes() == alone[0].tobytes()
    beside = [policy.predict_chunk([given[0], other])[0].robot.tobytes() for other in given[1:]]
    assert beside[0] == beside[1], "a neighbour's prompt changes no rounding"
    assert float(np.abs(alone[0] - alone[1]).max()) > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_the_steps_that_are_given_are_those_of_the_plan(family: str, folder_of: FolderOf) -> None:
    """With trained conditioning, exactly in the model's scale; the step after them is another."""
    policy = policy_of(folder_of(family), family, prefix="trained", trained_steps=6)
    one = examples(policy)[0]
    assert one.prefix_robot is not None and one.delay_steps == 3
    chunk = policy.predict_chunk([one])[0]
    np.testing.assert_allclose(chunk.robot[:3], one.prefix_robot[:3], rtol=1e-5, atol=1e-5)
    assert float(np.abs(chunk.robot[3] - one.prefix_robot[3]).max()) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_guidance_draws_a_chunk_to_its_plan(family: str, folder_of: FolderOf) -> None:
    """The certain steps are nearer to the plan than without it."""
    policy = policy_of(folder_of(family), family, euler_steps=10, jacobian="identity")
    one = examples(policy)[0]
    assert one.prefix is not None and one.prefix_robot is not None
    free = policy.predict_chunk([replace(one, prefix=None, prefix_robot=None)])[0].robot
    drawn = policy.predict_chunk([one])[0].robot
    sure = slice(0, one.delay_steps)
    plan = one.prefix_robot[sure]
    assert np.abs(drawn[sure] - plan).mean() < 0.5 * np.abs(free[sure] - plan).mean()


def test_a_plan_without_its_form_in_robot_space_is_an_error(folder_of: FolderOf) -> None:
    """The steps of the robot's actions bring it to the model."""
    policy = policy_of(folder_of("pi05"), "pi05")
    with pytest.raises(ValueError, match="prefix_robot is missing"):
        policy.predict_chunk([replace(examples(policy)[0], prefix_robot=None)])


def test_the_state_is_read_in_the_text_of_pi05_unless_it_was_trained_without(
    folder_of: FolderOf,
) -> None:
    """openpi's `discrete_state_input`, which its LIBERO configuration turns off."""
    for reads in (True, False):
        policy = policy_of(folder_of("pi05"), "pi05", discrete_state_input=reads)
        one = replace(examples(policy)[0], prefix=None, prefix_robot=None)
        # LIBERO's actions do not count from the state.
        moved = policy.predict_chunk([replace(one, state=one.state + 0.2)])[0].robot
        assert np.array_equal(moved, policy.predict_chunk([one])[0].robot) != reads


def test_the_default_prompt_stands_in_for_none(folder_of: FolderOf) -> None:
    """An observation without an instruction gets that of the options."""
    policy = policy_of(folder_of("pi0"), "pi0", prompt="open the drawer")
    one = examples(policy)[0]
    chunks = [
        policy.predict_chunk([replace(one, task=task)])[0].robot.tobytes()
        for task in ("", "open the drawer", "pick the red parcel")
    ]
    assert chunks[0] == chunks[1] != chunks[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fleet_is_checked_without_torch(family: str, folder_of: FolderOf) -> None:
    """`describe` gives the spec of the policy, in a process that cannot import torch."""
    policy = policy_of(folder_of(family), family)
    program = f"""
import sys, msgspec
sys.modules["torch"] = sys.modules["safetensors"] = sys.modules["jaxtyping"] = None
from holdfast.policy.pi0.pi_policy import {KINDS[family].__name__} as Policy
print(Policy.describe({str(folder_of(family))!r}, **{LIBERO!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(policy.spec)


def test_the_texts_are_those_of_openpi_and_lerobot() -> None:
    """Which parts are tokenized apart, and what becomes of spaces, underscores and newlines."""
    state = np.array([-1.5, -1.0, 0.0, 1.0])
    task = " pick_the\ncup "
    assert texts_of("pi0", "openpi", task, None) == ("pick the cup", "\n")
    assert texts_of("pi0", "lerobot", task, None) == (" pick_the\ncup \n",)
    assert texts_of("pi0", "lerobot", "pick\n", None) == ("pick\n",)
    assert texts_of("pi05", "openpi", task, None) == ("pick the cup", "\n")
    (text,) = texts_of("pi05", "lerobot", task, state)
    assert text == "Task: pick the cup, State: -1 0 128 255;\nAction: "


def test_a_prompt_begins_once_and_is_cut_at_its_limit(
    folder_of: FolderOf, caplog: pytest.LogCaptureFixture
) -> None:
    """The beginning token stands before the first part only; the cut is in the log."""
    pieces = read_word_pieces(folder_of("pi0"), None, 128)
    assert isinstance(pieces, SentencePieces)
    tokens = tokens_of(pieces, ("pick the", "\n"), 48)
    assert tokens == [2, *pieces.encode("pick the"), *pieces.encode("\n")]
    assert tokens_of(pieces, ("pick the", "\n"), 3) == tokens[:3]
    assert "cut to the model's 3" in caplog.text


def changed(folder: Path, target: Path, how: Callable[[Path], None]) -> Path:
    shutil.copytree(folder, target)
    how(target)
    return target


def _tensors(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return rewrite


def _without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _without_statistics(folder: Path) -> None:
    shutil.rmtree(folder / "assets")


def _without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.model").unlink()


def _of_jax(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "params").mkdir()


def _other_gemma(folder: Path) -> None:
    (folder / "config.json").write_text(
        json.dumps({"action_horizon": 5, "paligemma_variant": "gemma_9b"})
    )


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            _tensors(lambda t: t.pop("action_in_proj.weight")),
            "lacks action_in_proj.weight: it is not a checkpoint of this model",
        ),
        (
            _tensors(lambda t: t.update(lora_a=t["action_in_proj.bias"].clone())),
            "has lora_a, for which the model has no place",
        ),
        (
            _tensors(
                lambda t: t.update({"action_in_proj.bias": t["action_out_proj.bias"][:3].clone()})
            ),
            r"action_in_proj.bias is \[3\], expected \[48\]",
        ),
        (_without_config, "give it by `options: {chunk_size: N}`"),
        (_without_statistics, "holds no statistics"),
        (_without_tokenizer, "no tokenizer: looked for tokenizer.model or tokenizer.json in"),
        (_of_jax, "it is openpi's JAX form"),
        (_other_gemma, "no Gemma is called 'gemma_9b'"),
    ],
)
def test_a_directory_that_is_not_whole_is_refused_by_name(
    how: Callable[[Path], None],
    words: str,
    folder_of: FolderOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is there, what was expected and what to do."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = changed(folder_of("pi05"), tmp_path / "pi05", how)
    with pytest.raises(PolicyError, match=words):
        policy_of(folder, "pi05")


@pytest.mark.parametrize(
    ("family", "kind", "options", "words"),
    [
        ("pi05", "pi0", {}, "is a checkpoint of pi05, not of pi0: write `policy: pi05`"),
        ("pi0", "pi05", {}, "is a checkpoint of pi0, not of pi05: write `policy: pi0`"),
        ("pi0", "pi0", {"mapping": "libra"}, "did you mean 'libero'"),
        ("pi0", "pi0", {"mapping": None}, "add `options: {mapping: NAME}`, one of aloha, droid"),
        ("pi0", "pi0", {"fps": 5.0}, "fps: it is for LeRobot's files"),
        ("pi0", "pi0", {"tokeniser": "x"}, "policies pi0, pi05 and pi0_fast take"),
        ("pi0", "pi0", {"prefix": "trained"}, "trained_steps None: give both"),
        ("pi0", "pi0", {"prefix": "none", "clip": 2.0}, "guidance options are for prefix 'guided'"),
        ("pi0", "pi0", {"tokenizer": "/none/here"}, "looked for tokenizer.model"),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    family: str, kind: str, options: dict[str, Any], words: str, folder_of: FolderOf
) -> None:
    """The error comes before the weights are read."""
    with pytest.raises(PolicyError, match=words):
        policy_of(folder_of(family), kind, **options)


def test_the_hash_is_of_weights_statistics_and_options(folder_of: FolderOf, tmp_path: Path) -> None:
    """A robot that reconnects to other statistics must see another policy."""
    folder = folder_of("pi0")
    same, other = (policy_of(folder, "pi0", prompt=words).checkpoint_hash for words in ("a", "b"))

    def scaled(place: Path) -> None:
        (file,) = place.glob("assets/*/norm_stats.json")
        file.write_text(file.read_text().replace("0.5", "0.6"))

    moved = policy_of(changed(folder, tmp_path / "pi0", scaled), "pi0", prompt="a").checkpoint_hash
    assert policy_of(folder, "pi0", prompt="a").checkpoint_hash == same
    assert len({same, other, moved}) == 3


def test_the_hash_is_of_the_tokenizers_bytes_wherever_they_lie(
    folder_of: FolderOf, tmp_path: Path
) -> None:
    """Two hosts may have it in different places, and one of them no graphs."""
    folder = folder_of("pi0")
    own = (folder / "tokenizer.model").read_bytes()
    (tmp_path / "same.model").write_bytes(own)
    (tmp_path / "other.model").write_bytes(trained_pieces(50))
    here, there, another = (
        policy_of(folder, "pi0", **options).checkpoint_hash
        for options in (
            {},
            {"tokenizer": str(tmp_path / "same.model"), "graphs": "off"},
            {"tokenizer": str(tmp_path / "other.model")},
        )
    )
    assert here == there != another

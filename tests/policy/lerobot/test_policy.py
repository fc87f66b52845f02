"""LeRobot's policies through the adapter, in an interpreter with the library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from holdfast.errors import PolicyError
from holdfast.policy.base import Observation
from holdfast.policy.lerobot.checkpoint_folder import folder_of
from holdfast.policy.lerobot.files import options_of, spec_of
from holdfast.tests.peers.lerobot_checkpoints import (
    AdapterQuestion,
    AskAdapter,
    Asked,
    Direct,
    EnvironmentFor,
    MakeCheckpoints,
    adapter,
    in_episode,
)

LOOKING_BACK = ("diffusion", "multi_task_dit", "vqbet")
"""Their queues hold the last observations, which come with each request."""
SHARED = (
    *("act", "smolvla", "pi0", "pi0-relative", "pi05", "pi05-relative", "pi0_fast"),
    *LOOKING_BACK,
)
EXCLUSIVE = ("tdmpc",)
FAMILIES = (*SHARED, *EXCLUSIVE)
GUIDED = ("smolvla", "pi0", "pi0-relative", "pi05", "pi05-relative")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Chunks = dict[str, tuple[NDArray[np.float32], dict[str, Any]]]
"""By checkpoint: what the library gives, and what the adapter gives."""


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files of the interpreter with the library."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def ask(
    lerobot: Path,
    lerobot_environment: EnvironmentFor,
    tmp_path_factory: pytest.TempPathFactory,
    temporary: Path,
) -> AskAdapter:
    """The adapter in the newer library."""
    variables = {**lerobot_environment("pi0"), "TMPDIR": str(temporary)}
    return adapter(lerobot, variables, tmp_path_factory.mktemp("asked"))


def observations(checkpoint: Path) -> list[Observation]:
    """Without a prefix, and with several of different lengths and delays; a policy that looks back
    sees those before, as in an episode that the library itself steps through."""
    spec = spec_of(checkpoint, str(checkpoint), None, options_of({}))
    tasks = ("pick the red parcel", "", "pick", "red parcel", "pick the red parcel")
    made = [spec.example(seed, task) for seed, task in enumerate(tasks)]
    if spec.observation_steps > 1:
        return in_episode(made, spec.observation_steps)
    if spec.prefix == "none":
        return made
    first, second, third, fourth, fifth = made
    assert third.prefix is not None
    assert third.prefix_robot is not None
    return [
        replace(first, prefix=None, prefix_robot=None),
        second,
        replace(third, prefix=third.prefix[:5], prefix_robot=third.prefix_robot[:5]),
        replace(fourth, delay_steps=0),
        replace(
            fifth,
            delay_steps=second.delay_steps,
            execution_horizon=6,
            guidance_schedule="exp",
            guidance_clip=2.0,
        ),
    ]


@pytest.fixture(scope="module")
def chunks(checkpoints_of: MakeCheckpoints, direct: Direct, ask: AskAdapter) -> Chunks:
    """Of every family."""
    places = checkpoints_of(*FAMILIES)
    asked: list[Asked] = [(place, observations(place)) for place in places]
    wanted = direct(asked)
    got = ask([(place, {}, given) for place, given in asked])
    return dict(zip(FAMILIES, zip(wanted, got, strict=True), strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_chunk_is_the_bytes_of_the_librarys_own_call(chunks: Chunks, name: str) -> None:
    """One observation after the other: queues, prefixes and relative actions included."""
    wanted, got = chunks[name]
    assert "error" not in got
    assert np.asarray(got["alone"], np.float32).tobytes() == wanted.tobytes()
    assert float(np.abs(wanted[0] - wanted[1]).max()) > 1e-4
    assert got["prefix"] == ("guided" if name in GUIDED else "none")


@pytest.mark.parametrize("name", SHARED)
def test_a_batch_gives_what_each_gets_alone(chunks: Chunks, name: str) -> None:
    """Within the tolerance of float32: tasks, prefixes, delays and states are each one's own."""
    _, got = chunks[name]
    np.testing.assert_allclose(got["together"], got["alone"], rtol=1e-4, atol=1e-5)


def _drop_a_tensor(place: Path) -> None:
    _rewrite(place / "model.safetensors", lambda name: None)


def _rename_a_tensor(place: Path) -> None:
    _rewrite(place / "model.safetensors", lambda name: "of_nothing")


def _rewrite(file: Path, rename: Callable[[str], str | None]) -> None:
    """Give the last weight of a safetensors file another name, or none: it is left out. The file
    has 8 bytes of length, a header by name, and the values."""
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    about = header.pop("__metadata__", None)
    last = max(name for name in header if name.endswith("weight"))
    kept: dict[str, Any] = {} if about is None else {"__metadata__": about}
    values = b""
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        called = rename(name) if name == last else name
        if called is not None:
            begin, end = entry["data_offsets"]
            offsets = [len(values), len(values) + end - begin]
            kept[called] = {**entry, "data_offsets": offsets}
            values += content[start + begin : start + end]
    made = json.dumps(kept).encode()
    made += b" " * (-len(made) % 8)
    file.write_bytes(len(made).to_bytes(8, "little") + made + values)


def _no_statistics(place: Path) -> None:
    """The library would pass the values unchanged."""
    file = place / "policy_postprocessor.json"
    steps = json.loads(file.read_text())
    del steps["steps"][0]["state_file"]
    file.write_text(json.dumps(steps))


def _half_a_file(place: Path) -> None:
    file = place / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


SPOILT: dict[str, dict[Callable[[Path], None], tuple[str, ...]]] = {
    "act": {
        _drop_a_tensor: (".weight is not in model.safetensors, it was left untrained",),
        _no_statistics: ("policy_postprocessor has no statistics of action",),
        _half_a_file: ("cannot load", "SafetensorError"),
    },
    "pi0": {
        _half_a_file: ("model.safetensors cannot be read",),
        _drop_a_tensor: ("it was left untrained", "state_proj.weight"),
        _rename_a_tensor: ("of_nothing of model.safetensors is in no part of the network",),
        _no_statistics: ("policy_postprocessor has no statistics of action",),
    },
    "smolvla": {_rename_a_tensor: ("of_nothing",)},
    "vqbet": {_drop_a_tensor: ("weight",)},
}
"""What is done to the files of a family's checkpoint, and words of the refusal."""


@pytest.fixture(scope="module")
def refusals(
    checkpoints_of: MakeCheckpoints, ask: AskAdapter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], str]]:
    """By family and kind of damage."""
    folder = tmp_path_factory.mktemp("spoilt")
    questions: dict[tuple[str, str], AdapterQuestion] = {}
    for name, damages in SPOILT.items():
        for damage in damages:
            place = Path(shutil.copytree(checkpoints_of(name)[0], folder / name / damage.__name__))
            damage(place)
            questions[name, damage.__name__] = (place, {}, None)
    answers = ask([*questions.values()])
    yield {key: str(each.get("error")) for key, each in zip(questions, answers, strict=True)}
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        pytest.param(name, damage.__name__, words, id=f"{name}{damage.__name__}")
        for name, damages in SPOILT.items()
        for damage, words in damages.items()
    ],
)
def test_a_checkpoint_that_was_not_loaded_whole_is_refused(
    refusals: dict[tuple[str, str], str], name: str, damage: str, words: tuple[str, ...]
) -> None:
    """LeRobot loads some of these with a line in its log; the error names what is missing."""
    said = refusals[name, damage]
    assert all(word in said for word in words), said


def test_an_option_that_the_family_cannot_follow_is_refused(
    checkpoints_of: MakeCheckpoints, ask: AskAdapter
) -> None:
    """By what the library's own class says of itself."""
    [act] = checkpoints_of("act")
    guided, typed = ask([(act, {"prefix": "guided"}, None), (act, {"dtype": "bfloat16"}, None)])
    assert "ACTPolicy does not support real-time chunking" in guided["error"]
    assert "family act has no dtype" in typed["error"]


def test_a_loaded_checkpoint_leaves_no_temporary_file(
    checkpoints_of: MakeCheckpoints, ask: AskAdapter, temporary: Path
) -> None:
    """The library leaves the copy of the configuration that it parses; the adapter removes it."""
    [act] = checkpoints_of("act")
    [answer] = ask([(act, {}, None)])
    assert "error" not in answer
    assert list(temporary.glob("*.json")) == []


def test_without_the_library_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub's id needs the hub's package."""
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PolicyError, match=r"needs huggingface_hub.*`python:`"):
        folder_of("user/pick", None, whole=True)

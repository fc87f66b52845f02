"""What the files of a LeRobot checkpoint imply: pure, without torch or the library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import PolicyError
from holdfast.policy.lerobot.checkpoint_folder import folder_of, hash_of
from holdfast.policy.lerobot.files import options_of, spec_of

Config = dict[str, Any]


def config() -> Config:
    """Of an ACT with two cameras, as save_pretrained writes it."""
    return {
        "type": "act",
        "chunk_size": 50,
        "n_action_steps": 20,
        "input_features": {
            "observation.state": {"type": "STATE", "shape": [2]},
            "observation.images.front": {"type": "VISUAL", "shape": [3, 48, 64]},
            "observation.image": {"type": "VISUAL", "shape": [3, 24, 32]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [2]}},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint's directory with a configuration only."""
    (tmp_path / "config.json").write_text(json.dumps(config()))
    return tmp_path


def test_the_spec_follows_from_the_configuration(folder: Path) -> None:
    """`observation.images.front` is camera front; the chunk is whole, not n_action_steps."""
    given = options_of({"action_names": ["a", "b"], "fps": 20})
    spec = spec_of(folder, str(folder), "r", given)
    assert [(c.name, c.width, c.height) for c in spec.cameras] == [
        ("front", 64, 48),
        ("image", 32, 24),
    ]
    assert (spec.chunk_size, spec.fps, spec.revision, spec.stateful) == (50, 20, "r", False)
    assert spec.action_names == spec.state_names == ("a", "b")
    assert not spec.by_count


def test_without_names_the_spec_says_that_it_has_none(folder: Path) -> None:
    """A name of its own for each value is kept for the count."""
    spec = spec_of(folder, str(folder), None, options_of({}))
    assert spec.by_count
    assert (len(spec.action_names), len(spec.state_names), spec.fps) == (2, 2, 30)


@pytest.mark.parametrize("names", [["j.pos", "k.pos"], {"motors": ["j", "k"]}])
def test_names_and_rate_come_from_the_dataset(folder: Path, names: object) -> None:
    """Its info.json has both; older ones group the names."""
    info = folder / "data" / "meta" / "info.json"
    info.parent.mkdir(parents=True)
    features = {"action": {"names": names}, "observation.state": {"names": names}}
    info.write_text(json.dumps({"fps": 15, "features": features}))
    for place in (info, info.parents[1]):
        spec = spec_of(folder, str(folder), None, options_of({"dataset": str(place)}))
        assert (spec.action_names, spec.state_names, spec.fps) == (("j", "k"), ("j", "k"), 15)


@pytest.mark.parametrize(
    ("kind", "given", "exclusive"),
    [("act", None, False), ("unheard_of", None, True), ("act", "exclusive", True)],
)
def test_a_family_has_its_serving_mode_unless_another_is_asked_for(
    folder: Path, kind: str, given: str | None, exclusive: bool
) -> None:
    """One that is not known may keep a queue: it is exclusive."""
    (folder / "config.json").write_text(json.dumps({**config(), "type": kind}))
    options = options_of({"serving_mode": given} if given else {})
    assert spec_of(folder, str(folder), None, options).stateful is exclusive


def _pi0(**more: object) -> Config:
    return {**config(), "type": "pi0", **more}


@pytest.mark.parametrize(
    ("values", "given", "expected"),
    [
        (_pi0(), {}, ("guided", 10)),
        (_pi0(rtc_config={"execution_horizon": 16}), {}, ("guided", 16)),
        (_pi0(), {"execution_horizon": 80}, ("guided", 50)),
        (_pi0(), {"prefix": "none"}, ("none", 0)),
        (_pi0(type="evo1"), {}, ("none", 0)),
        (_pi0(type="evo1"), {"prefix": "guided"}, ("guided", 10)),
        (_pi0(type="diffusion", n_action_steps=8, n_obs_steps=2), {}, ("none", 0)),
    ],
)
def test_a_family_that_takes_the_rest_of_the_plan_says_for_how_many_steps(
    folder: Path, values: Config, given: Config, expected: tuple[str, int]
) -> None:
    """By the options, the checkpoint's own settings, or LeRobot's default."""
    (folder / "config.json").write_text(json.dumps(values))
    spec = spec_of(folder, str(folder), None, options_of(given))
    assert (spec.prefix, spec.max_prefix_steps) == expected


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"type": "pi0_fast", "n_action_steps": 20}, 20),
        ({"type": "lingbot_va", "frame_chunk_size": 4, "action_per_frame": 3}, 12),
        ({"type": "tdmpc", "horizon": 5, "use_mpc": True}, 5),
        ({"type": "tdmpc", "horizon": 5, "use_mpc": False}, 1),
        ({"type": "vqbet", "action_chunk_size": 7, "n_obs_steps": 5}, 7),
    ],
)
def test_a_chunk_is_as_long_as_the_family_predicts(
    folder: Path, values: Config, steps: int
) -> None:
    """Which families say in different fields."""
    (folder / "config.json").write_text(json.dumps({**config(), **values}))
    assert spec_of(folder, str(folder), None, options_of({})).chunk_size == steps


def _environment(values: Config) -> None:
    values["input_features"]["observation.environment_state"] = {"type": "ENV", "shape": [4]}


def _depth(values: Config) -> None:
    values["input_features"]["observation.image"]["shape"] = [1, 24, 32]


def _no_chunk(values: Config) -> None:
    del values["chunk_size"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_environment, "wants observation.environment_state"),
        (_depth, r"shape \[1, 24, 32\], expected \[3, height, width\]"),
        (_no_chunk, "lacks 'chunk_size'"),
        (lambda values: values.pop("type"), "has no `type`"),
        (
            lambda values: values.update(type="gaussian_actor"),
            "LeRobot's gaussian_actor gives single actions: only policies with a chunk API",
        ),
        (lambda values: values.update(use_peft=True), "an adapter .* merge it into its base"),
    ],
)
def test_what_no_robot_can_give_is_refused(
    folder: Path, spoil: Callable[[Config], object], said: str
) -> None:
    """The error names the file and the feature."""
    values = config()
    spoil(values)
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(PolicyError, match=said):
        spec_of(folder, str(folder), None, options_of({}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"action_names": ["a"]}, r"options: action_names: 1 names \(a\), but .* 2 values"),
        ({"actions": []}, "options: Object contains unknown field `actions`"),
        ({"dataset": "/no/such"}, "options: dataset: /no/such/meta/info.json cannot be read"),
        ({"fps": -1}, "options: fps"),
        ({"clip": 5.0}, "options: clip: it is for prefix 'guided'"),
        ({"schedule": "steep"}, "options: Invalid enum value 'steep'"),
    ],
)
def test_a_wrong_option_is_named(folder: Path, given: Config, said: str) -> None:
    """It begins with `options`, by which the fleet file's check finds the place."""
    with pytest.raises(PolicyError, match=said):
        spec_of(folder, str(folder), None, options_of(given))


def test_a_policy_with_queues_continues_no_plan(folder: Path) -> None:
    """LeRobot's select_action, which fills the queues, takes no prefix."""
    queued = {**config(), "type": "diffusion", "n_obs_steps": 2}
    (folder / "config.json").write_text(json.dumps(queued))
    with pytest.raises(PolicyError, match="options: prefix: a policy of family diffusion keeps"):
        spec_of(folder, str(folder), None, options_of({"prefix": "guided"}))


def test_a_checkpoint_that_is_missing_is_a_clear_error(tmp_path: Path) -> None:
    """A directory without configuration, or no checkpoint at all."""
    with pytest.raises(PolicyError, match=r"has no config\.json: name the directory"):
        folder_of(str(tmp_path), None, whole=True)
    with pytest.raises(PolicyError, match="add `checkpoint:`"):
        folder_of(None, None, whole=False)


def test_the_hash_is_of_every_byte_that_is_loaded(folder: Path) -> None:
    """A changed weight, statistic or option is another hash; a log beside them is not."""
    (folder / "model.safetensors").write_bytes(b"weights")
    first = hash_of(folder, "float32")
    (folder / "train.log").write_text("x")
    assert hash_of(folder, "float32") == first != hash_of(folder, "bfloat16")
    (folder / "model.safetensors").write_bytes(b"weightz")
    assert hash_of(folder, "float32") != first

"""π0 and π0.5 on a dataset: names, cameras, statistics, the command and its mistakes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.policy.normalize import Stats
from holdfast.policy.steps.libero import ACTIONS, STATE
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.recording_schema import RecordingSchema
from holdfast.tests.robot.dataset.recordings import BLIND, SMALL, dataset
from holdfast.tests.tools.training.small_pi_trainings import NETWORK, tiny
from holdfast.tests.tools.training.train_commands import trained
from holdfast.tools.training.pi_config import sized
from holdfast.tools.training.pi_presets import PI_CONFIGS
from holdfast.tools.training.pi_recordings import pi_spec_of, widened
from holdfast.tools.training.presets import CONFIGS, register_config
from holdfast.tools.training.recording import Recording
from holdfast.tools.training.trained_policy import trained_policy

LIBERO = RecordingSchema(
    fps=10,
    state_names=tuple(f"s{number}" for number in range(len(STATE))),
    action_names=tuple(f"a{number}" for number in range(len(ACTIONS))),
    cameras={"image": (24, 24), "image2": (24, 24)},
    robot_type="libero",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "pick"
    dataset(folder, lengths=(6, 5))
    return folder


@pytest.fixture(scope="module")
def libero(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "libero"
    dataset(folder, LIBERO, lengths=(6, 5))
    return folder


@pytest.fixture
def tiny_config() -> Any:
    """A config `tiny` of the command, for one test."""
    register_config("tiny", tiny())
    yield "tiny"
    CONFIGS.pop("tiny")


def test_images_fit_the_network_in_the_shape_of_their_camera(root: Path) -> None:
    """64 x 48 and 32 x 32 pixels become 16 x 12 and 16 x 16; the names are the dataset's."""
    spec, theirs = pi_spec_of(Dataset(root), sized(tiny()))
    assert [(c.name, c.width, c.height) for c in spec.cameras] == [
        ("top", 16, 12),
        ("wrist", 16, 16),
    ]
    assert theirs == ("top", "wrist") and spec.action_names == ("x", "y")


def test_a_mappings_cameras_are_the_datasets_in_the_order_that_is_given(
    libero: Path, tmp_path: Path
) -> None:
    """Names, rate of the recording and steps are LIBERO's; each camera has its own pictures."""
    network = {**NETWORK, "mapping": "libero"}
    config = sized(tiny(network=network, cameras=("image2", "image")))
    recording = Recording.of(Dataset(libero), config)
    spec, theirs = recording.spec, recording.theirs
    assert (spec.state_names, spec.action_names, spec.fps) == (STATE, ACTIONS, 10)
    assert [camera.name for camera in spec.cameras] == ["image", "wrist_image"]
    assert spec.control_mode == "velocity" and theirs == ("image2", "image")
    data = recording.windows(tmp_path)
    assert set(data.images) == {"image", "wrist_image"}
    other = tmp_path / "other"
    dataset(other, replace(LIBERO, cameras={"left": (8, 8)}), lengths=(3, 3))
    with pytest.raises(ValueError, match="give the dataset's in this order, as cameras=left"):
        pi_spec_of(Dataset(other), sized(tiny(network=network)))


@pytest.mark.parametrize("cameras", [(), ("image",)])
def test_a_mapping_that_wants_more_cameras_says_which_there_are(
    cameras: tuple[str, ...], tmp_path: Path
) -> None:
    """Whether the dataset's are found by name or given, before an image is decoded."""
    dataset(tmp_path / "one", replace(LIBERO, cameras={"image": (8, 8), "side": (8, 8)}))
    config = sized(tiny(network={**NETWORK, "mapping": "libero"}, cameras=cameras))
    said = r"(?s)the cameras image of .*/one: .*wrist_image.* as cameras=image,side"
    with pytest.raises(ValueError, match=said):
        pi_spec_of(Dataset(tmp_path / "one"), config)


def test_a_dataset_without_cameras_or_without_a_state_is_refused_with_words(
    tmp_path: Path,
) -> None:
    """Both before anything is read of it."""
    dataset(tmp_path / "blind", BLIND)
    with pytest.raises(ValueError, match="has no colour cameras, and pi05 sees at least one"):
        pi_spec_of(Dataset(tmp_path / "blind"), sized(tiny()))
    dataset(tmp_path / "stateless", SMALL)
    path = tmp_path / "stateless" / "meta" / "info.json"
    info = json.loads(path.read_text())
    info["features"]["observation.position"] = info["features"].pop("observation.state")
    path.write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"has no observation\.state: .*observation\.position"):
        pi_spec_of(Dataset(tmp_path / "stateless"), sized(tiny()))


def test_a_value_that_does_not_vary_is_normalized_to_nothing() -> None:
    """By deviation and by quantiles; others keep their statistics."""
    stats = Stats(mean=(2.0, 0.0), std=(0.0, 0.5), q01=(2.0, -1.0), q99=(2.0, 1.0))
    assert widened(stats) == Stats((2.0, 0.0), (1.0, 0.5), (1.0, -1.0), (3.0, 1.0))


def test_the_command_trains_and_the_folder_serves(
    root: Path, tmp_path: Path, tiny_config: str
) -> None:
    """The folder has metrics, the command and a checkpoint of the dataset's names."""
    out = tmp_path / "run"
    done = trained(tiny_config, "--dataset", str(root), "--out", str(out))
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20]
    policy = trained_policy("pi05", out)
    (chunk,) = policy.predict_chunk([policy.spec.example(task="task 1")])
    assert policy.spec.action_names == ("x", "y") and chunk.robot.shape == (8, 2)
    again = trained(tiny_config, "--dataset", str(root), "--out", str(out), "steps=24")
    assert again.exit_code == 1 and "steps was 20, is now 24" in " ".join(again.output.split())


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (["pi05"], "base is missing: the published network starts from trained weights"),
        (["pi05", "base=/none/here"], "checkpoint '/none/here' has no model.safetensors"),
        (["tiny", "network.expert.widht=3"], "did you mean network.expert.width?"),
        (["tiny", "network.actions=1"], "network.actions is 1, the robot has 2: x, y"),
        (["tiny", "network.prompt_tokens=9"], "tokens, the network reads 9: shorten the task"),
        (["tiny", "tokenizer=/none/here"], "no tokenizer: looked for tokenizer.model"),
        (["tiny", "network.words=100"], "260 words, expected at most the model's 100"),
        (["tiny", "network.mapping=libra"], "did you mean 'libero'"),
        (["tiny", "network.mapping=libero"], "mapping libero has 8 values of the state"),
        (["tiny", "state_mode=zscore"], "state_mode is zscore and action_mode quantile"),
        (["tiny", "statistics=base"], "statistics=base needs a base"),
        (["tiny", "lora.rank=4"], "lora.rank=4 changes a trained network: name it"),
        (["tiny", "freeze=hand.*"], "freeze: no weight matches hand.*"),
    ],
)
def test_a_mistake_is_answered_before_an_image_is_decoded(
    root: Path, tmp_path: Path, keys: list[str], error: str, tiny_config: str
) -> None:
    """With what was found and what is expected."""
    out = tmp_path / "out"
    done = trained(*keys, "--dataset", str(root), "--out", str(out))
    said = "".join(done.output.split())
    assert done.exit_code == 1, done.output
    assert error.replace(" ", "") in said, done.output
    assert "Traceback" not in said
    assert not (out / "config.json").exists() and not list(out.rglob("*.npy"))


def test_every_mapping_of_a_config_is_one_that_there_is() -> None:
    """And every config of a published network asks for its base."""
    from holdfast.policy.steps import embodiment_of

    for name, config in PI_CONFIGS.items():
        if mapping := config.network.get("mapping"):
            embodiment_of(mapping)
        if not name.endswith("_small"):
            with pytest.raises(ValueError, match="base is missing"):
                sized(config)

"""What `holdfast-train` says of typical mistakes, and `--check` of every config."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.robot.dataset.recording_schema import RecordingSchema
from holdfast.tests.robot.dataset.recordings import SMALL, dataset
from holdfast.tests.tools.training.small_trainings import SMALL_KEYS
from holdfast.tests.tools.training.train_commands import invoked, trained
from holdfast.tools.training import train
from holdfast.tools.training.pi_presets import PI_CONFIGS
from holdfast.tools.training.presets import CONFIGS


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "pick"
    dataset(folder, lengths=(4, 4))
    return folder


CHECKED = ("pi05_small", "pi0_libero_low_mem_finetune")
"""Of π0 and π0.5, by default; the others differ in numbers and in the mapping."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in {*PI_CONFIGS} - {*CHECKED} else [])
        for name in CONFIGS
    ],
)
def test_the_check_of_every_config_takes_a_batch_the_whole_way(name: str) -> None:
    """At its own sizes, as it would be trained."""
    done = trained(name, "--check")
    assert done.exit_code == 0, done.output
    assert "saved, loaded and served" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("keys", "status", "error"),
    [
        (["cameras=side"], 1, "cameras: side not found, {root} has top, wrist"),
        (["bach=8"], 1, "no key bach; did you mean batch? There are: "),
        (["lora.rank=8"], 1, "lora.rank=8 changes a trained network: name it"),
        (["relative_actions=grip"], 1, "relative action 'grip' must be an action and a state"),
        (["base=runs/none"], 1, "no checkpoint 'runs/none'"),
        (["--device", "gpu"], 1, "--device gpu: expected auto, cpu, cuda or cuda:N"),
        (["--track", "mlflow"], 2, "expected tensorboard or wandb"),
    ],
)
def test_a_mistake_is_answered_with_what_was_found_and_expected(
    root: Path, tmp_path: Path, keys: list[str], status: int, error: str
) -> None:
    """One message and a status before an image is decoded, and no checkpoint."""
    out = tmp_path / "out"
    given = ["flow", "--dataset", str(root), "--out", str(out), *SMALL_KEYS, *keys]
    done = invoked(train.main, *given)
    said = " ".join(done.output.replace("│", " ").split())
    assert done.exit_code == status, done.output
    assert error.format(root=root).replace(" ", "") in said.replace(" ", "")
    assert "Traceback" not in said
    assert not (out / "config.json").exists() and not list(out.rglob("*.npy"))


@pytest.mark.parametrize("check", [False, True])
def test_a_path_that_is_no_dataset_is_refused(tmp_path: Path, check: bool) -> None:
    """The error names it and what is expected."""
    given = ["flow", "--dataset", str(tmp_path / "nowhere"), *SMALL_KEYS]
    done = trained(*given, *(["--check"] if check else ["--out", str(tmp_path / "out")]))
    said = "".join(done.output.split())
    assert done.exit_code == 1
    assert str(tmp_path / "nowhere") in said and "LeRobotDataset" in said


def test_a_base_for_another_state_is_refused_with_both_sizes(root: Path, tmp_path: Path) -> None:
    """The weight and the pattern that excludes it are named, before an image is decoded."""
    other = RecordingSchema(30, ("x", "y"), ("x", "y"), SMALL.cameras)
    dataset(tmp_path / "other", other, lengths=(4, 4))
    base = trained(
        *("flow", "--dataset", str(tmp_path / "other"), "--out", str(tmp_path / "base")),
        *(*SMALL_KEYS, "steps=1"),
    )
    assert base.exit_code == 0, base.output
    given = ["flow", "--dataset", str(root), "--out", str(tmp_path / "out"), "cameras=top"]
    done = trained(*given, *SMALL_KEYS, f"base={tmp_path / 'base'}")
    said = " ".join(done.output.split())
    assert done.exit_code == 1
    assert "encoder.fuse.0.weight is [16, " in said or "encoder.state.0.weight is [64, 2]" in said
    assert "exclude it: base_weights=*,!encoder." in said
    assert not list((tmp_path / "out").rglob("*.npy")) and list((tmp_path / "base").rglob("*.npy"))

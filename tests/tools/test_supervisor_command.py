"""The `supervisor` command, as far as it starts nothing; that it starts is for the end-to-end
tests."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.checkpoint import Config
from holdfast.robot.sim import SPEC
from holdfast.tools.supervisor import app

SPEC_OF_POLICY = PolicySpec(
    model="test",
    revision="1",
    cameras=(CameraFeature("overhead", 96, 72), CameraFeature("wrist", 96, 72)),
    state_names=SPEC.state_names,
    action_names=SPEC.action_names,
    chunk_size=45,
    fps=30,
)


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    """The file that `supervisor init` writes, with a checkpoint that needs no training."""
    path = tmp_path / "fleet.yaml"
    assert CliRunner().invoke(app, ["init", str(path)]).exit_code == 0
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    config = Config(kind="flow", spec=SPEC_OF_POLICY, network={})
    (checkpoint / "config.json").write_bytes(msgspec.json.encode(config))
    text = path.read_text().replace("checkpoint: conveyor-flow", f"checkpoint: {checkpoint} ")
    path.write_text(text)
    return path


def test_what_init_writes_is_right(fleet_file: Path) -> None:
    done = CliRunner().invoke(app, ["check", str(fleet_file)])
    assert done.exit_code == 0, done.output
    assert "14 actors" in done.output


def test_init_overwrites_nothing_unasked(fleet_file: Path) -> None:
    before = fleet_file.read_text()
    done = CliRunner().invoke(app, ["init", str(fleet_file)])
    assert done.exit_code == 2 and "--force" in done.output
    assert fleet_file.read_text() == before
    assert CliRunner().invoke(app, ["init", "--force", str(fleet_file)]).exit_code == 0


@pytest.mark.parametrize("command", ["check", "start"])
def test_a_bad_file_is_refused_before_anything_starts(fleet_file: Path, command: str) -> None:
    fleet_file.write_text(fleet_file.read_text().replace("fps: 30   ", "fps: 0    "))
    done = CliRunner().invoke(app, [command, str(fleet_file)])
    assert done.exit_code == 2
    assert "$.robots[0].fps: found 0" in done.output


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["check", str(tmp_path / "fleet.yaml")])
    assert done.exit_code == 2 and "supervisor init" in done.output


def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    fleet_file: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["start", str(fleet_file), "--report", str(tmp_path)])
    assert done.exit_code == 2 and "report cannot be written" in done.output


def test_the_schema_is_json() -> None:
    done = CliRunner().invoke(app, ["schema"])
    assert json.loads(done.output)["title"] == "fleet.yaml of Holdfast"

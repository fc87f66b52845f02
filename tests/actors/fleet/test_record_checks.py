"""What `supervisor check` says about a robot's `record:`."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.actors.fleet import record_checks
from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import loads
from holdfast.actors.fleet.surroundings import faults_here
from holdfast.actors.recorder.record_settings import RecorderConfig
from holdfast.errors import FleetError
from holdfast.tests.robot.dataset import recordings

FLEET = """
name: cell
services:
  pick: {{policy: constant, checkpoint: conveyor-flow}}
robots:
  - name: r1
    service: pick
    fps: {fps}
    cameras: {{overhead: {{width: {width}, height: 480}}, wrist: {{}}}}
    record: {record}
gateway: {{enabled: false}}
"""


def fleet(record: str = "{root: data}", fps: float = 30, width: int = 640) -> str:
    return FLEET.format(record=record, fps=fps, width=width)


def test_a_recorded_robot_has_a_recorder_with_its_names_and_rings(tmp_path: Path) -> None:
    """The root is relative to the file; the memory is read only."""
    made = expand(loads(fleet(), base=tmp_path), None, tmp_path)
    spec = next(each for each in made if each.name == "r1/recorder")
    config = RecorderConfig(**spec.config)
    assert spec.config["record"]["root"] == str(tmp_path / "data")
    assert list(config.cameras) == ["overhead", "wrist"]
    assert [use.name for use in spec.segments if use.writable] == ["r1/recorder/board"]
    assert spec.member.after == ("r1/control",)


def test_without_record_there_is_no_recorder(tmp_path: Path) -> None:
    """Nothing is recorded unless it is asked for."""
    text = fleet().replace("    record: {root: data}\n", "")
    assert not [s for s in expand(loads(text), None, tmp_path) if s.kind == "recorder"]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        (fleet(record="{}"), "$.robots[0].record", "root"),
        (fleet(record="{root: d, codec: vp9}"), "$.robots[0].record.codec", "h264"),
        (fleet(record="{root: d, quality: 0}"), "$.robots[0].record.quality", "1"),
        (fleet(record="{root: d, upload: soon}"), "$.robots[0].record.upload", "deferred"),
        (fleet(record="{root: d, upload: deferred}"), "$.robots[0].record.repo_id", "needs the"),
        (
            fleet(record="{root: d, upload: deferred, repo_id: l/p}\n    strategy: {type: sentry}"),
            "$.robots[0].record.upload",
            "always records",
        ),
        (fleet(record="{root: d, archive_codec: av2}"), "$.robots[0].record.archive_codec", "av1"),
        (
            fleet(record="{root: d, archive_codec: av1}\n    strategy: {type: sentry}"),
            "$.robots[0].record.archive_codec",
            "always records",
        ),
        (fleet(fps=29.5), "$.robots[0].fps", "whole number of frames per second"),
        (fleet(width=641), "$.robots[0].cameras.overhead.width", "even number of pixels"),
    ],
)
def test_a_recording_that_cannot_work_is_refused_with_its_place(
    text: str, place: str, reason: str
) -> None:
    """Wrong values, and what the format cannot hold."""
    with pytest.raises(FleetError) as refused:
        loads(text)
    assert any(
        fault.path.startswith(place) and reason in fault.message for fault in refused.value.faults
    ), refused.value


def test_missing_packages_are_named_with_their_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The extra is optional, and its absence is found before the start."""
    monkeypatch.setattr(record_checks, "find_spec", lambda name: None)
    with pytest.raises(FleetError, match=r"pyarrow and av.*pip install 'holdfast\[data\]'"):
        loads(fleet())


def test_a_root_that_cannot_be_recorded_to_is_found_before_the_start(tmp_path: Path) -> None:
    """A file, a folder of other things, and a dataset of another robot; a new one is fine."""
    file, other, dataset = tmp_path / "file", tmp_path / "other", tmp_path / "dataset"
    file.write_text("")
    other.mkdir()
    (other / "thesis.tex").write_text("")
    recordings.dataset(dataset, recordings.SMALL, (2,))
    wanted = {
        "new/set": "",
        "file": "is a file",
        "file/set": "is a file",
        "other": "holds thesis.tex",
        "dataset": "episodes of another kind: it lacks the columns",
    }
    for root, reason in wanted.items():
        made = loads(fleet(record=f"{{root: {root}}}"), base=tmp_path)
        found = [f for f in faults_here(made, None) if f.path == "$.robots[0].record.root"]
        assert [reason in each.message for each in found] == [True] * bool(reason), (root, found)


def test_a_misspelt_key_is_one_fault() -> None:
    """What it stands for is not called missing besides."""
    text = fleet().replace("    fps:", "    strategy: {type: episodic, episods: 3}\n    fps:")
    with pytest.raises(FleetError) as refused:
        loads(text)
    (fault,) = refused.value.faults
    assert "did you mean 'episodes'" in str(fault)

"""Files of meta that are lost or damaged are rebuilt from the rest; what is not known is said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from holdfast.errors import DatasetError
from holdfast.robot.dataset.dataset_info import INFO, STATS, TASKS, VERSION
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.meta_rebuild import rebuild
from holdfast.robot.dataset.verification import verify
from holdfast.tools.cli.dataset_commands import app

from . import recordings
from .recordings import SMALL

LENGTHS = (5, 8, 4)
ROWS = "meta/episodes/chunk-000/file-001.parquet"
FILES = (INFO, STATS, TASKS, ROWS)


def made(folder: Path) -> Path:
    recordings.dataset(folder / "set", SMALL, LENGTHS)
    return folder / "set"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made(tmp_path)


def repair(root: Path) -> Result:
    return CliRunner().invoke(app, ["repair", str(root)])


def facts(root: Path) -> dict[str, Any]:
    """What a reader finds, without what only meta/episodes has."""
    dataset = Dataset(root)
    return {
        "info": json.loads((root / INFO).read_text()),
        "stats": dataset.stats(),
        "tasks": dataset.tasks,
        "entries": [(e.index, e.length, e.tasks, e.videos, e.data) for e in dataset.episodes],
        "success": [e.extra["success"] for e in dataset.episodes],
    }


def assert_close(found: Any, wanted: Any) -> None:
    """The same but for the last digits: statistics of images are computed from decoded ones."""
    if isinstance(wanted, dict):
        assert set(found) == set(wanted)
        for key, value in wanted.items():
            assert_close(found[key], value)
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for each, value in zip(found, wanted, strict=True):
            assert_close(each, value)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=0.03)
    else:
        assert found == wanted


@settings(max_examples=8)
@given(lost=st.sets(st.sampled_from(FILES), min_size=1), cut=st.booleans())
def test_any_files_of_meta_are_rebuilt_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, lost: set[str], cut: bool
) -> None:
    """Missing or cut off, together or alone: the dataset is whole, and is recorded to again."""
    root = made(tmp_path_factory.mktemp("lost"))
    before = facts(root)
    for name in lost:
        if cut:
            os.truncate(root / name, 20)
        else:
            (root / name).unlink()
    done = repair(root)
    assert done.exit_code == 0, done.output
    assert "all whole" in done.stdout
    for name in lost - {ROWS}:
        assert f"{name} was rebuilt" in done.stdout
    after = facts(root)
    if {TASKS, ROWS} <= lost:
        # The second episode alone had the second task.
        assert "not known: the words of the tasks 1" in done.stdout
        assert after["tasks"] == ("task 0", "task 1 (its words are lost)", "task 2")
        del after["tasks"], before["tasks"], after["entries"], before["entries"]
    if ROWS in lost:
        assert "the rows of 1 episodes in meta/episodes were rebuilt (1)" in done.stdout
        assert "not known: which robot recorded them, and when" in done.stdout
    assert_close(after, before)
    if cut:
        assert len(list((root / ".recording").glob("aside-*/meta/**/*.*"))) == len(lost)
    writer = DatasetWriter(root, "r1", SMALL)
    assert writer.recovered == []
    assert writer.commit(recordings.record(writer, 3, 2)) == 3
    writer.close()
    assert verify(root).whole


def test_what_the_rows_of_another_writer_do_not_say_is_not_known(root: Path) -> None:
    """Without what our files of rows embed: names and the kind of robot are said to be lost."""
    for path in root.glob("data/*/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.replace_schema_metadata(None), path)
    for path in root.glob("meta/episodes/*/*.parquet"):
        path.unlink()  # their checksums are those of the files before
    (root / INFO).unlink()
    done = repair(root)
    assert done.exit_code == 0, done.output
    assert "fps is 30, from the timestamps" in done.stdout
    assert "not known: the kind of robot, and the names of the parts of" in done.stdout
    info = Dataset(root).info
    assert (info.fps, info.robot_type, info.total_episodes, info.total_frames) == (30, None, 3, 17)
    assert info.features["observation.images.top"].shape == (16, 16, 3)
    assert info.features["provenance"].shape == (3,)
    assert verify(root).whole


def test_rows_are_not_rebuilt_where_their_place_is_not_known(root: Path) -> None:
    """Data that is lost too costs its episode, and those after it, as before."""
    (root / INFO).unlink()
    os.truncate(root / "data/chunk-000/file-001.parquet", 30)
    done = repair(root)
    assert done.exit_code == 0, done.output
    assert "it counts 1 episodes, 5 frames" in done.stdout
    assert len(Dataset(root)) == 1
    assert verify(root).whole


def test_another_version_and_no_dataset_are_left_alone(root: Path, tmp_path: Path) -> None:
    """Neither is changed: the reason is that of every command."""
    other = json.loads((root / INFO).read_text()) | {"codebase_version": "v2.1"}
    (root / INFO).write_text(json.dumps(other))
    with pytest.raises(DatasetError, match=f"v2.1, expected {VERSION}"):
        rebuild(root)
    (tmp_path / "nothing").mkdir()
    assert repair(tmp_path / "nothing").exit_code == 2
    assert not list((tmp_path / "nothing").iterdir())


def test_a_dataset_without_its_info_says_who_rebuilds_it(root: Path) -> None:
    """Every reader's error names the command; `verify` finds missing statistics too."""
    (root / STATS).unlink()
    assert any("stats.json cannot be read" in fault for fault in verify(root).faults)
    (root / INFO).unlink()
    with pytest.raises(DatasetError, match="`actorctl dataset repair` rebuilds"):
        Dataset(root)

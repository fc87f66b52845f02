"""An episode as a recording of Rerun, read back by Rerun's own reader."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.tests.robot.dataset import recordings
from holdfast.tools.cli import dataset_rerun

pytest.importorskip("rerun", reason="needs rerun-sdk, 170 MB: pip install 'holdfast[rerun]'")

LENGTHS = (5, 40)
Rows = dict[str, list[Any]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("rerun") / "pick"
    recordings.dataset(root, lengths=LENGTHS)
    return Dataset(root)


@pytest.fixture(scope="module")
def rrd(dataset: Dataset) -> Path:
    """Episode 1, written by the command."""
    path = dataset.root.parent / "one.rrd"
    command = [sys.executable, "-m", "holdfast.tools.cli.actorctl", "dataset", "rerun"]
    done = subprocess.run(
        [*command, str(dataset.root), "--episode", "1", "--out", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "episode 1" in done.stdout
    return path


@pytest.fixture(scope="module")
def rows(rrd: Path) -> Callable[[str], Rows]:
    """All columns that an entity has, those that are static too."""
    from rerun.chunk import RrdReader

    chunks = list(RrdReader(str(rrd)).stream().to_chunks())

    def of(entity: str) -> Rows:
        found: Rows = {}
        for chunk in chunks:
            if chunk.entity_path == entity:
                batch = chunk.to_record_batch()
                for name, values in zip(batch.schema.names, batch.columns, strict=True):
                    plain = values.cast("int64") if name == "time" else values
                    found.setdefault(name, []).extend(plain.to_pylist())
        return found

    return of


def test_states_and_actions_are_on_both_timelines(
    dataset: Dataset, rows: Callable[[str], Rows]
) -> None:
    """All values are there, by their names."""
    episode = dataset.episode(1)
    expected = {"/observation/state": episode.states, "/action": episode.actions}
    for entity, values in expected.items():
        found = rows(entity)
        assert found["frame"] == list(range(40))
        assert np.allclose(np.array(found["time"]) / 1e9, np.arange(40) / 30, atol=1e-6)
        assert np.array_equal(np.array(found["Scalars:scalars"]), values.astype(np.float64))
    assert rows("/action")["SeriesLines:names"] == [["x", "y"]]
    assert rows("/observation/state")["SeriesLines:names"] == [["x", "y", "yaw"]]


def test_each_new_chunk_is_a_seam_and_each_row_says_its_step(rows: Callable[[str], Rows]) -> None:
    """The recordings have chunks of three steps, the first with seq 0."""
    seams = rows("/chunk/seams")
    assert seams["frame"] == list(range(0, 40, 3))
    assert seams["TextLog:text"][:2] == [["session 7 seq 0"], ["session 7 seq 1"]]
    assert rows("/chunk/step")["Scalars:scalars"][:4] == [[0.0], [1.0], [2.0], [0.0]]
    assert rows("/chunk/seq")["Scalars:scalars"][3] == [1.0]


def test_interventions_latency_and_task_are_there(
    dataset: Dataset, rows: Callable[[str], Rows]
) -> None:
    """Each row, and a line where a person takes over or gives back."""
    episode = dataset.episode(1)
    for name in ("intervention", "latency_s"):
        values = np.array(rows(f"/{name}")["Scalars:scalars"]).ravel()
        assert np.allclose(values, episode.column(name).astype(np.float64))
    hand = rows("/hand")
    assert hand["frame"][:4] == [0, 3, 4, 7]
    assert hand["TextLog:text"][:2] == [["the policy commands"], ["a person commands"]]
    assert rows("/task")["TextLog:text"] == [["task 1"]]


def test_cameras_are_their_videos_with_the_frame_of_each_row(rows: Callable[[str], Rows]) -> None:
    """The frame at each reference is that of the row."""
    for camera in ("top", "wrist"):
        found = rows(f"/cameras/{camera}")
        assert found["frame"] == list(range(40))
        (blob,) = found["AssetVideo:blob"]
        with av.open(BytesIO(bytes(blob[0])), "r") as container:
            shown = [
                (float(f.time or 0.0), float(f.to_ndarray(format="rgb24").mean()))
                for f in container.decode(video=0)
            ]
        for number, at_ns in enumerate(found["VideoFrameReference:timestamp"]):
            grey = [grey for at_s, grey in shown if at_s <= at_ns[0] / 1e9][-1]
            assert abs(grey - recordings.grey(number)) < 3


def test_reruns_own_program_accepts_the_file(rrd: Path) -> None:
    """`rerun rrd verify` exits with 0."""
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "verify", str(rrd)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_that_cannot_be_written_and_an_absent_episode_cost_no_file(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says why; a file that was there before is left as it was."""
    before = tmp_path / "before.rrd"
    before.write_bytes(b"before")
    for episode, out, code, why in (
        (7, before, 2, "no episode 7: it has 2"),
        (1, tmp_path / "none" / "a.rrd", 1, "cannot be written: No such file or directory"),
    ):
        with pytest.raises(SystemExit) as ended:
            dataset_rerun.rerun(dataset.root, episode, out)
        said = capsys.readouterr().err
        assert ended.value.code == code
        assert why in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["before.rrd"]
    assert before.read_bytes() == b"before"


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of Rerun's: it keeps what it was given, and fails without a file
    `works` beside it."""
    program = tmp_path / "viewer"
    program.write_text(
        '#!/bin/sh\ncd "$(dirname "$0")" && cp "$1" shown.rrd\n'
        'test -e works || { echo first >&2; echo "Error: no adapter" >&2; exit 1; }\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("RERUN_CLI_PATH", str(program))
    monkeypatch.setenv("DISPLAY", ":9")
    return program


def test_the_viewer_is_opened_with_the_episode(
    dataset: Dataset, viewer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it is given is the episode, which is no longer there when it is closed."""
    (viewer.parent / "works").touch()
    dataset_rerun.rerun(dataset.root, 1, None, spawn=True)
    assert "the viewer shows episode 1" in capsys.readouterr().out
    shown = (viewer.parent / "shown.rrd").read_bytes()
    assert shown.startswith(b"RRF")
    assert not list(Path(tempfile.gettempdir()).glob("holdfast-rerun-*/episode-1.rrd"))


def test_a_viewer_that_fails_and_one_without_a_display_are_one_line(
    dataset: Dataset,
    viewer: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the viewer's own last words; without a display, no episode is exported."""
    out = viewer.parent / "kept.rrd"
    with pytest.raises(SystemExit, match="1"):
        dataset_rerun.rerun(dataset.root, 1, out, spawn=True)
    assert capsys.readouterr().err == "Rerun's viewer did not open: Error: no adapter\n"
    assert out.exists()
    for name in dataset_rerun.DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    out.unlink()
    with pytest.raises(SystemExit, match="1"):
        dataset_rerun.rerun(dataset.root, 1, out, spawn=True)
    said = capsys.readouterr().err
    assert "the viewer needs a display, and there is none here" in said and said.count("\n") == 1
    assert not out.exists()
    with pytest.raises(SystemExit, match="2"):
        dataset_rerun.rerun(dataset.root, 1)
    assert "by --out FILE.rrd, or open the viewer by --spawn" in capsys.readouterr().err

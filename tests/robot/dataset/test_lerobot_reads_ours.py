"""The LeRobot library on a dataset that was recorded here: it loads, recomputes and trains."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.verification import verify
from holdfast.robot.dataset.video_archive import VideoArchive
from holdfast.tests.peers.environments import ROOT, interpreter_of

from . import recordings
from .recordings import grey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = ROOT / "tests" / "peers" / "lerobot_dataset_program.py"
LENGTHS = (7, 12, 5)
OF_PLACE = {"timestamp", "frame_index", "episode_index", "index", "task_index"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    recordings.dataset(tmp_path / "ours", lengths=LENGTHS)
    return tmp_path / "ours"


def lerobot(*arguments: str) -> str:
    """Run the program there; returns what it printed."""
    command = [str(interpreter_of("lerobot-0.6")), str(PROGRAM), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_library_finds_every_row_and_image_of_ours(root: Path, tmp_path: Path) -> None:
    """Counts, all columns, instants, tasks and pixels are those that our own reader finds."""
    lerobot("load", str(root), str(tmp_path / "found.npz"))
    ours, found = Dataset(root), np.load(tmp_path / "found.npz")
    report = json.loads(str(found["report"]))
    assert (report["fps"], report["episodes"], report["frames"]) == (30, 3, 24)
    assert report["lengths"] == list(LENGTHS)
    assert report["tasks"] == [task for episode in ours for task in episode.tasks]
    assert report["success"] == [False, True, False]
    for key, feature in ours.features.items():
        if feature.visual:
            pictures = np.concatenate([list(episode.frames(key)) for episode in ours])
            there = found[key].transpose(0, 2, 3, 1)
            np.testing.assert_allclose(there, pictures, atol=2)
            greys = [grey(frame) for length in LENGTHS for frame in range(length)]
            np.testing.assert_allclose(there.mean(axis=(1, 2, 3)), greys, atol=3)
        else:
            values = np.concatenate([episode.column(key) for episode in ours])
            np.testing.assert_array_equal(found[key], values)


def test_our_statistics_are_the_librarys_own_recomputation(root: Path) -> None:
    """Every number of every column agrees, those of images with what was recorded."""
    before = Dataset(root).stats()
    lerobot("recompute", str(root))
    after = Dataset(root).stats()
    compared = 0
    for key, of in after.items():
        # It computes in single precision, of which the deviation of large numbers keeps little.
        large = max(np.abs(of["max"]).max(), np.abs(of["min"]).max())
        for name, value in of.items():
            loose = 1e-3 if name == "std" else 1e-6
            np.testing.assert_allclose(
                before[key][name], value, rtol=1e-4, atol=loose * max(1.0, large), err_msg=key
            )
            compared += 1
    assert compared == 10 * (len(Dataset(root).features)), "of all features"
    assert set(before) == set(after) >= OF_PLACE


def test_the_library_trains_a_step_on_ours(root: Path) -> None:
    """Its policy sees our state and cameras and none of our other columns; the loss is finite."""
    printed = lerobot("train", str(root))
    inputs = "observation.images.top, observation.images.wrist, observation.state"
    assert f"inputs: {inputs}\n" in printed
    assert "loss" in printed


def test_a_dataset_that_the_library_has_read_is_still_whole(root: Path, tmp_path: Path) -> None:
    """Loading changes none of its files, and it is resumed afterwards."""
    lerobot("load", str(root), str(tmp_path / "found.npz"))
    assert verify(root).whole
    recordings.dataset(root, lengths=(3,))
    assert [len(episode) for episode in Dataset(root)] == [*LENGTHS, 3]


def test_the_library_reads_a_dataset_of_transcoded_and_new_videos(
    root: Path, tmp_path: Path
) -> None:
    """Every picture is that of our reader: a file's codec is taken from the file."""
    VideoArchive(root).run()
    recordings.dataset(root, lengths=(4,))
    lerobot("load", str(root), str(tmp_path / "found.npz"))
    ours, found = Dataset(root), np.load(tmp_path / "found.npz")
    assert len(ours) == len(LENGTHS) + 1
    for key in ours.cameras:
        pictures = np.concatenate([list(episode.frames(key)) for episode in ours])
        np.testing.assert_allclose(found[key].transpose(0, 2, 3, 1), pictures, atol=2)

"""Transcoding: every frame stays at its instant, and a kill at any instant costs nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.errors import DatasetError
from holdfast.robot.dataset import commit_plan, video_transcoding
from holdfast.robot.dataset.commit_plan import REDO, STAGING, carry_out
from holdfast.robot.dataset.dataset_info import INFO
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.encoding import Archiving
from holdfast.robot.dataset.recovery import redo
from holdfast.robot.dataset.verification import verify
from holdfast.robot.dataset.video_archive import ArchiveProgress, VideoArchive
from holdfast.robot.dataset.video_transcoding import codec_of, transcode
from holdfast.tests.waiting import wait_until

from . import recordings
from .recordings import BLIND, SCHEMA, SMALL, grey, record

TOP = "observation.images.top"
PROGRAM = """
import sys
from pathlib import Path
from holdfast.robot.dataset.video_archive import VideoArchive
VideoArchive(Path(sys.argv[1])).run()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    recordings.dataset(tmp_path / "set", SMALL, (5, 8))
    return tmp_path / "set"


def codecs(root: Path) -> list[str]:
    """Of all videos, in order."""
    return [codec_of(path) for path in sorted(root.glob("videos/*/*/*.mp4"))]


def said_codec(root: Path) -> Any:
    """By info.json."""
    return json.loads((root / INFO).read_text())["features"][TOP]["info"]["video.codec"]


def assert_frames(root: Path, lengths: tuple[int, ...]) -> None:
    """Every frame of every camera has the grey value that was recorded."""
    dataset = Dataset(root)
    assert [len(episode) for episode in dataset] == list(lengths)
    for episode in dataset:
        for camera in dataset.cameras:
            greys = [image.mean() for image in episode.frames(camera)]
            np.testing.assert_allclose(greys, [grey(f) for f in range(len(episode))], atol=4)


def test_all_videos_are_transcoded_and_the_dataset_is_whole(tmp_path: Path) -> None:
    """Frames, checksums and info.json are right; a second run has nothing to do."""
    root = tmp_path / "set"
    recordings.dataset(root)
    said: list[ArchiveProgress] = []
    done = VideoArchive(root, report=said.append).run()
    assert (done.done, done.files, done.file) == (4, 4, "")
    assert done.before_bytes > 0 < done.after_bytes
    assert codecs(root) == ["av1"] * 4
    assert said_codec(root) == "av1"
    assert verify(root).whole
    assert_frames(root, (5, 8))
    assert [each.done for each in said] == sorted(each.done for each in said)
    before = {path: path.stat().st_mtime_ns for path in root.glob("[!.]*/**/*.*")}
    assert VideoArchive(root).run().files == 0
    assert {path: path.stat().st_mtime_ns for path in root.glob("[!.]*/**/*.*")} == before


def test_an_episode_recorded_afterwards_makes_a_dataset_of_both_codecs(root: Path) -> None:
    """info.json then names the codec of the newest, until that is transcoded too."""
    VideoArchive(root).run()
    recordings.add_episode(root, SMALL, 2)
    assert (codecs(root), said_codec(root)) == (["av1", "av1", "h264"], "h264")
    assert verify(root).whole
    assert_frames(root, (5, 8, 5))
    assert VideoArchive(root).run().done == 1
    assert (codecs(root), said_codec(root)) == (["av1"] * 3, "av1")
    assert verify(root).whole


def test_every_instant_of_a_transcodings_commit_is_a_dataset_that_can_be_read(
    root: Path, tmp_path: Path
) -> None:
    """After each operation every frame can be read as it is, and a redo completes the rest."""
    operations: list[Any] = []

    def record_operations(_: Path, found: list[Any]) -> None:
        operations.extend(found)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_plan, "carry_out", record_operations)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # what was staged is looked at
        with pytest.raises(KeyboardInterrupt):
            VideoArchive(root).run()
    moved = next(n for n, o in enumerate(operations) if o.to == REDO)
    kinds = [o.to.partition("/")[0] for o in operations if o.kind == "move"][1:]
    assert kinds == ["videos", "meta"], "the video, and the row with its checksum"
    for count in range(len(operations) + 1):
        copy = tmp_path / str(count)
        shutil.copytree(root, copy)
        carry_out(copy, operations[:count])
        assert_frames(copy, (5, 8))
        done = redo(copy)
        assert bool(done) == (moved < count < len(operations) - 1), (count, done)
        assert verify(copy).whole, count
        assert codecs(copy) == (["av1", "h264"] if count > moved else ["h264", "h264"])
        assert VideoArchive(copy).run().done == (1 if count > moved else 2)
        assert verify(copy).whole, count


@pytest.mark.slow
def test_a_transcoding_that_is_killed_at_any_instant_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL again and again: always all frames, at last all in the new codec."""
    lengths: tuple[int, ...] = (30, 25, 40, 30)
    root = tmp_path / "set"
    recordings.dataset(root, SCHEMA, lengths)
    random.seed(5)
    command = [sys.executable, "-c", PROGRAM, str(root)]
    lock = root / STAGING / "transcoding.lock"
    kills = 0
    while kills < 8:
        lock.unlink(missing_ok=True)
        process = subprocess.Popen(command)
        wait_until(lock.exists, within_s=60)
        time.sleep(random.uniform(0.0, 0.3))  # the instant is what is random here
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        assert_frames(root, lengths)
        redo(root)
        found = verify(root)
        assert found.whole, (found.faults, [each.faults for each in found.episodes])
        if set(codecs(root)) == {"av1"}:
            recordings.dataset(root, SCHEMA, (20,))
            lengths = (*lengths, 20)
    subprocess.run(command, check=True)
    assert set(codecs(root)) == {"av1"}
    assert said_codec(root) == "av1"
    assert verify(root).whole
    assert_frames(root, lengths)
    assert not list((root / STAGING / "transcoding.staged").iterdir())


def test_a_video_that_came_out_too_different_is_encoded_better(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise takes a better quality; where none is good enough, the video stays as it is."""
    noise = np.random.default_rng(3)
    writer = DatasetWriter(root, "r1", SMALL)
    recording = writer.begin()
    for frame in range(20):
        row = recordings.row(SMALL, 2, frame)
        picture = noise.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        recording.add(type(row)(row.state, row.action, "go", images={"top": (picture, frame)}))
    writer.commit(recording)
    writer.close()
    video = max(root.glob("videos/*/*/*.mp4"))
    made = transcode(video, tmp_path / "made.mp4", Archiving(quality=63))
    assert made.quality < 63
    assert made.difference <= video_transcoding.TOLERANCE
    monkeypatch.setattr(video_transcoding, "TOLERANCE", 0.0)
    archive = VideoArchive(root)
    archive.run()
    assert "file-002.mp4 stays as it is: as av1, its frame" in " ".join(archive.left)
    assert codecs(root)[2] == "h264"
    assert said_codec(root) == "h264"
    assert verify(root).whole
    again = VideoArchive(root)
    assert (again.run().files, again.left) == (0, []), "it is not tried again"


def test_a_damaged_video_and_one_of_no_episode_stay_as_they_are(root: Path) -> None:
    """The reason is given, and all others are transcoded."""
    stray = root / f"videos/{TOP}/chunk-000/file-007.mp4"
    shutil.copyfile(stray.with_name("file-000.mp4"), stray)
    os.truncate(stray.with_name("file-001.mp4"), 100)
    archive = VideoArchive(root)
    assert archive.run().done == 1
    assert len(archive.left) == 2
    assert "file-001.mp4 cannot be" in archive.left[0]
    assert "file-007.mp4 is of no episode" in archive.left[1]
    assert stray.with_name("file-001.mp4").stat().st_size == 100


def test_it_waits_while_a_robot_records(root: Path) -> None:
    """An episode in progress, of any process, comes first; its end lets the work go on."""
    writer = DatasetWriter(root, "r1", SMALL)
    recording = record(writer, 2, 3)
    said: list[ArchiveProgress] = []

    def pause() -> None:
        if said[-1].waits:
            recording.discard()

    assert VideoArchive(root, report=said.append, pause=pause).run().done == 2
    assert "r1 records an episode" in {each.waits for each in said}
    assert not said[-1].waits
    writer.close()


def test_one_process_transcodes_a_dataset_at_a_time(root: Path) -> None:
    """A second one is refused, or waits."""

    def refuse() -> None:
        with pytest.raises(DatasetError, match="another process transcodes"):
            VideoArchive(root).run()

    assert VideoArchive(root, pause=refuse).run().done == 2


def test_a_dataset_without_videos_has_nothing_to_transcode(tmp_path: Path) -> None:
    """It is no error, and nothing is written to it."""
    recordings.dataset(tmp_path / "set", BLIND)
    assert VideoArchive(tmp_path / "set").run() == ArchiveProgress()
    assert verify(tmp_path / "set").whole

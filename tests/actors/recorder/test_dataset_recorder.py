"""The dataset of one robot while its disk is full, forbidden, or deleted under it."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.recorder import dataset_recorder
from holdfast.actors.recorder.dataset_recorder import DatasetRecorder
from holdfast.errors import DatasetError
from holdfast.robot.dataset import commit_plan
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.encoding import Encoding
from holdfast.robot.dataset.verification import verify
from holdfast.tests.robot.dataset import recordings
from holdfast.tests.robot.dataset.recordings import BLIND, SMALL, row
from holdfast.tests.waiting import wait_until

LOG = logging.getLogger("recorder")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


@pytest.fixture
def recorder(root: Path) -> Iterator[DatasetRecorder]:
    made = DatasetRecorder(root, "r1", SMALL, Encoding(), LOG)
    made.open()
    yield made
    made.close()


def rows(recorder: DatasetRecorder, number: int, length: int) -> None:
    for frame in range(length):
        recorder.add(row(SMALL, number, frame))


def served(recorder: DatasetRecorder) -> DatasetRecorder:
    """After what the thread has reported was noted."""
    recorder.serve(time.monotonic_ns())
    return recorder


def test_an_episode_is_durable_when_its_future_has_its_index(
    recorder: DatasetRecorder, root: Path
) -> None:
    """The files are whole at that moment, without closing anything."""
    recorder.begin()
    rows(recorder, 0, 5)
    saved = recorder.finish(success=True)
    assert saved is not None
    assert saved.result(60) == 0
    assert verify(root).whole
    assert len(Dataset(root)) == 1
    assert (served(recorder).saved, recorder.reason) == (1, "")


def test_the_next_episode_is_recorded_while_the_last_is_saved(
    recorder: DatasetRecorder, root: Path
) -> None:
    """Neither waits for the other, and their rows are not mixed."""
    futures = []
    for number, length in enumerate((4, 6, 3)):
        recorder.begin()
        rows(recorder, number, length)
        futures.append(recorder.finish(None))
    assert [future.result(60) for future in futures if future] == [0, 1, 2]
    assert [len(episode) for episode in Dataset(root)] == [4, 6, 3]


def test_a_full_disk_costs_the_episode_and_one_sentence(
    recorder: DatasetRecorder, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason names the error once, and stays until an episode is saved, when there is room."""
    recorder.begin().result(60)
    assert recorder._worker._recording is not None
    (encoder,) = recorder._worker._recording._encoders.values()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, encoder._file.fileno())
    os.close(full)

    def lost() -> bool:
        rows(recorder, 0, 20)
        return bool(served(recorder).reason)

    wait_until(lost, "the disk to be noticed")
    assert "is lost: No space left on device" in recorder.reason
    assert not recorder.recording
    assert caplog.text.count("No space left") == 1
    recorder.begin().result(60)
    assert "is lost" in served(recorder).reason, "the next one is not safe yet"
    rows(recorder, 1, 4)
    saved = recorder.finish(None)
    assert saved is not None
    assert saved.result(60) == 0
    assert served(recorder).reason == ""
    assert verify(root).whole


def test_a_folder_deleted_while_recording_is_named_and_made_anew(
    recorder: DatasetRecorder, root: Path
) -> None:
    """The episode in progress is lost with a reason; the next one begins a new dataset."""
    recorder.begin().result(60)
    shutil.rmtree(root)

    def lost() -> bool:
        rows(recorder, 0, 1)
        return bool(served(recorder).reason)

    wait_until(lost, "the deleted folder to be noticed")
    assert f"{root} was deleted or moved" in recorder.reason
    recorder.begin().result(60)
    rows(recorder, 1, 3)
    saved = recorder.finish(None)
    assert saved is not None
    assert saved.result(60) == 0
    assert served(recorder).reason == ""


def test_a_place_that_cannot_be_written_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder should be: a reason in words, and recording when it is gone."""
    place = tmp_path / "disk"
    place.write_text("not mounted")
    monkeypatch.setattr(dataset_recorder, "_RETRY_NS", 0)
    recorder = DatasetRecorder(place / "set", "r1", BLIND, Encoding(), LOG)
    recorder.open()
    assert f"File exists ({place})" in served(recorder).reason
    place.unlink()
    wait_until(lambda: not served(recorder).reason, "the dataset to be opened")
    recorder.close()
    assert verify(place / "set").whole


def test_a_dataset_of_another_robot_is_refused_at_once(root: Path) -> None:
    """What no waiting would mend is an error of the opening."""
    recordings.dataset(root, BLIND, (3,))
    recorder = DatasetRecorder(root, "r1", SMALL, Encoding(), LOG)
    with pytest.raises(DatasetError, match="episodes of another kind"):
        recorder.open()
    recorder.close()


def test_images_that_wait_are_bounded_and_rows_are_not_lost(
    recorder: DatasetRecorder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound a row repeats the last image, is counted, and keeps its place."""
    monkeypatch.setattr(dataset_recorder, "_MOST_BYTES", 3 * 16 * 16 * 3)
    recorder.begin()
    rows_are_there = threading.Event()
    recorder._worker._encode.submit(rows_are_there.wait, 60)
    rows(recorder, 0, 10)
    assert recorder.dropped == 7
    rows_are_there.set()
    saved = recorder.finish(None)
    assert saved is not None
    assert saved.result(60) == 0
    assert len(Dataset(root).episode(0)) == 10
    assert Dataset(root).episode(0).column("repeated").sum() == 7
    assert recorder.waiting_bytes == 0


def test_a_slow_disk_holds_up_no_image_of_the_next_episode(
    recorder: DatasetRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an episode waits for the disk, the next one's images are encoded."""
    synchronized = threading.Event()
    carry_out = commit_plan.carry_out

    def slow(*args: Any) -> None:
        assert synchronized.wait(60)
        carry_out(*args)

    monkeypatch.setattr(commit_plan, "carry_out", slow)
    recorder.begin()
    rows(recorder, 0, 4)
    first = recorder.finish(None)
    recorder.begin()
    rows(recorder, 1, 6)
    try:
        wait_until(lambda: recorder.waiting_bytes == 0, "the images to be encoded")
        assert first is not None and not first.done() and recorder.saving
    finally:
        synchronized.set()
    second = recorder.finish(None)
    assert second is not None
    assert (first.result(60), second.result(60)) == (0, 1)
    assert not served(recorder).saving


def test_an_episode_in_progress_is_kept_at_the_end(root: Path) -> None:
    """The stop of a fleet saves what was recorded so far."""
    recorder = DatasetRecorder(root, "r1", SMALL, Encoding(), LOG)
    recorder.open()
    recorder.begin()
    rows(recorder, 0, 7)
    recorder.close()
    assert [len(episode) for episode in Dataset(root)] == [7]

"""Recording: what is written is read again, row by row; what cannot be is refused with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import DatasetError
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.encoding import Encoding
from holdfast.robot.dataset.recording_schema import RecordingSchema
from holdfast.robot.dataset.verification import verify

from . import recordings
from .recordings import BLIND, FRONT, SCHEMA, SMALL, grey, record, row


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


def test_every_row_and_image_is_read_as_it_was_recorded(root: Path) -> None:
    """States, actions, instants, tasks, provenance and grey values of two episodes."""
    recordings.dataset(root)
    found = Dataset(root)
    assert (len(found), found.frames, found.tasks) == (2, 13, ("task 0", "task 1"))
    for number, length in enumerate((5, 8)):
        episode = found.episode(number)
        rows = [row(SCHEMA, number, frame) for frame in range(length)]
        np.testing.assert_array_equal(episode.states, [each.state for each in rows])
        np.testing.assert_array_equal(episode.actions, [each.action for each in rows])
        np.testing.assert_allclose(episode.timestamps, np.arange(length) / 30, atol=1e-6)
        assert episode.tasks == [each.task for each in rows]
        wanted = [(each.session, each.seq, each.step) for each in rows]
        np.testing.assert_array_equal(episode.column("provenance"), wanted)
        np.testing.assert_allclose(episode.column("latency_s"), [r.latency_s for r in rows])
        np.testing.assert_array_equal(
            episode.column("intervention"), [each.intervention for each in rows]
        )
        assert set(episode.column("success")) == {number % 2}
        assert episode.entry.extra["success"] is bool(number % 2)
        assert not episode.column("repeated").any()
        for camera in found.cameras:
            greys = [image.mean() for image in episode.frames(camera)]
            np.testing.assert_allclose(greys, [grey(f) for f in range(length)], atol=3)


def test_an_episode_is_one_row_group_and_one_video_per_camera(root: Path) -> None:
    """Each episode has files of its own."""
    recordings.dataset(root)
    for entry in Dataset(root).episodes:
        assert pq.ParquetFile(root / entry.data).num_row_groups == 1
    assert len(list(root.glob("videos/*/chunk-000/*.mp4"))) == 4
    assert verify(root).whole


def test_a_missing_image_repeats_the_last_and_never_shifts_the_video(root: Path) -> None:
    """With frames 2 and 3 missing, images 2 and 3 are image 1 again, and image 4 is its own."""
    writer = DatasetWriter(root, "r1", SMALL)
    recording = writer.begin()
    for frame in range(6):
        whole = row(SMALL, 0, frame)
        images = {} if frame in {2, 3} else whole.images
        recording.add(type(whole)(whole.state, whole.action, "go", images=images))
    assert recording.repeated == {"top": 2}
    writer.commit(recording)
    writer.close()
    episode = Dataset(root).episode(0)
    assert episode.column("repeated").tolist() == [False, False, True, True, False, False]
    assert episode.column("capture_ns").tolist() == [0, 1, 1, 1, 4, 5]
    greys = [image.mean() for image in episode.frames("observation.images.top")]
    np.testing.assert_allclose(greys, [grey(f) for f in (0, 1, 1, 1, 4, 5)], atol=3)


def test_a_camera_without_any_frame_yet_is_black(root: Path) -> None:
    """The first rows of a camera that delivers nothing have a picture too, marked as repeated."""
    writer = DatasetWriter(root, "r1", SMALL)
    recording = writer.begin()
    whole = row(SMALL, 0, 0)
    recording.add(type(whole)(whole.state, whole.action, "go"))
    writer.commit(recording)
    writer.close()
    (image,) = Dataset(root).episode(0).frames("observation.images.top")
    assert image.max() < 3


def test_a_dataset_is_resumed_where_it_ended(root: Path) -> None:
    """A second writer of the same kind adds behind the first one's episodes."""
    recordings.dataset(root, BLIND, (3, 4))
    writer = DatasetWriter(root, "r1", BLIND)
    assert writer.recovered == []
    assert writer.commit(record(writer, 2, 5)) == 2
    writer.close()
    assert [entry.from_index for entry in Dataset(root).episodes] == [0, 3, 7]
    assert verify(root).whole


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (RecordingSchema(25, ("x",), ("x",), {}), "30 frames per second, this robot 25"),
        (RecordingSchema(30, ("x", "y"), ("x",), {}), r"observation.state is float32 \[1\]"),
        (RecordingSchema(30, ("y",), ("x",), {}), "parts of its observation.state are x"),
        (SMALL, "lacks the columns capture_ns, observation.images.top, repeated"),
    ],
)
def test_a_dataset_of_another_kind_is_refused_with_the_difference(
    root: Path, other: RecordingSchema, reason: str
) -> None:
    """Rate, sizes, names and columns: the first difference is named, and nothing is changed."""
    recordings.dataset(root, BLIND, (3,))
    before = sorted((p, p.stat().st_mtime_ns) for p in root.rglob("*.*"))
    with pytest.raises(DatasetError, match=reason):
        DatasetWriter(root, "r1", other)
    assert sorted((p, p.stat().st_mtime_ns) for p in root.rglob("*.*")) == before


def test_a_folder_of_something_else_is_refused_and_kept(root: Path) -> None:
    """Files that are no dataset are named, and nothing is written among them."""
    root.mkdir()
    (root / "thesis.tex").write_text("words")
    with pytest.raises(DatasetError, match=r"thesis\.tex, but no meta/info\.json"):
        DatasetWriter(root, "r1", BLIND)
    assert [path.name for path in root.iterdir()] == ["thesis.tex"]


def test_two_robots_record_to_one_dataset(root: Path) -> None:
    """Episodes in progress at once get their numbers when they are finished."""
    left, right = DatasetWriter(root, "left", BLIND), DatasetWriter(root, "right", BLIND)
    first, second = record(left, 0, 3), record(right, 1, 4)
    assert (right.commit(second), left.commit(first)) == (0, 1)
    left.close()
    right.close()
    assert [entry.extra["robot"] for entry in Dataset(root).episodes] == ["right", "left"]
    assert verify(root).whole


def test_a_second_writer_of_one_robot_is_refused(root: Path) -> None:
    """The name of a robot is held by one process."""
    writer = DatasetWriter(root, "r1", BLIND)
    with pytest.raises(DatasetError, match="another process records r1"):
        DatasetWriter(root, "r1", BLIND)
    writer.close()
    DatasetWriter(root, "r1", BLIND).close()


def test_a_discarded_episode_leaves_nothing(root: Path) -> None:
    """Neither files nor a number: the next episode is the first."""
    writer = DatasetWriter(root, "r1", SMALL)
    recording = record(writer, 0, 4)
    recording.discard()
    assert not recording.folder.exists()
    assert writer.commit(record(writer, 1, 2)) == 0
    writer.close()


def test_an_episode_without_rows_is_refused(root: Path) -> None:
    """LeRobot's layout has no place for one."""
    writer = DatasetWriter(root, "r1", BLIND)
    with pytest.raises(DatasetError, match="without rows"):
        writer.commit(writer.begin())
    writer.close()


@pytest.mark.parametrize("codec", ["h264", "auto", "hevc"])
def test_every_codec_keeps_each_frame_at_its_instant(root: Path, codec: str) -> None:
    """Frame k is at k / fps exactly, whatever encodes it."""
    writer = DatasetWriter(root, "r1", SCHEMA, Encoding(codec=codec))  # type: ignore[arg-type]
    writer.commit(record(writer, 0, 40))
    writer.close()
    assert verify(root).whole
    greys = [i.mean() for i in Dataset(root).episode(0).frames("observation.images.top")]
    np.testing.assert_allclose(greys, [grey(f) for f in range(40)], atol=6)


def test_an_odd_picture_is_refused_before_recording() -> None:
    """yuv420p halves both sizes."""
    with pytest.raises(DatasetError, match="65x48 pixels: videos need even"):
        RecordingSchema(30, ("x",), ("x",), {"top": (48, 65)})


def test_a_full_disk_is_an_error_of_the_system(root: Path) -> None:
    """The encoder's write says ENOSPC, and the episode is discarded without a trace."""
    writer = DatasetWriter(root, "r1", SMALL)
    recording = writer.begin()
    (encoder,) = recording._encoders.values()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, encoder._file.fileno())
    os.close(full)
    with pytest.raises(OSError, match="No space left on device"):
        for frame in range(60):
            recording.add(row(SMALL, 0, frame))
    recording.discard()
    assert writer.commit(record(writer, 1, 2)) == 0
    writer.close()


@settings(max_examples=10)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_the_statistics_of_all_episodes_are_those_of_all_rows(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int]
) -> None:
    """Merged episode by episode, minimum, maximum, mean and deviation are those of the whole."""
    root = tmp_path_factory.mktemp("stats") / "set"
    recordings.dataset(root, BLIND, tuple(lengths))
    found = Dataset(root)
    states = np.concatenate([episode.states for episode in found]).astype(np.float64)
    stats = found.stats()["observation.state"]
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(stats[name], getattr(states, name)(axis=0), atol=1e-9)
    assert stats["count"] == [sum(lengths)]


def test_info_keeps_what_others_wrote_to_it(root: Path) -> None:
    """Keys without a meaning here survive the next episode."""
    recordings.dataset(root, BLIND, (3,))
    path = root / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "license": "CC0"}))
    recordings.dataset(root, BLIND, (3,))
    assert json.loads(path.read_text())["license"] == "CC0"


def test_an_opening_and_a_commit_read_no_earlier_episode(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take as long for the thousandth episode as for the tenth."""
    recordings.dataset(root, SMALL, (3, 2, 4, 2))
    opened: list[str] = []
    parquet = pq.ParquetFile

    def noted(path: Path, *args: Any, **kwargs: Any) -> pq.ParquetFile:
        opened.append(Path(path).relative_to(root).as_posix())
        return parquet(path, *args, **kwargs)

    monkeypatch.setattr(pq, "ParquetFile", noted)
    writer = DatasetWriter(root, "r1", SMALL)
    assert writer.commit(record(writer, 4, 2)) == 4
    writer.close()
    assert {path for path in opened if path.startswith("meta/episodes")} == {
        "meta/episodes/chunk-000/file-003.parquet"
    }
    assert not [path for path in opened if path.startswith("data") and "file-003" not in path]
    assert len(Dataset(root)) == 5


@pytest.mark.parametrize("kind", ["data", "videos/observation.images.top", "meta/episodes"])
def test_an_opening_notices_a_missing_file_of_any_episode(root: Path, kind: str) -> None:
    """One that a person deleted is noticed, although earlier episodes are not read."""
    recordings.dataset(root, SMALL, (3, 2, 4))
    first, *_ = sorted((root / kind / "chunk-000").iterdir())
    first.unlink()
    with pytest.raises(DatasetError, match="episode 0 is damaged"):
        DatasetWriter(root, "r1", SMALL)


def test_images_in_the_rows_are_read_and_a_damaged_one_is_found(root: Path) -> None:
    """As LeRobot stores them without videos: each is decoded; what is cut off or lost is said."""
    recordings.dataset(root, BLIND, (3, 4))
    recordings.store_images(root)
    assert verify(root).whole
    greys = [image.mean() for image in Dataset(root).episode(1).frames(FRONT)]
    np.testing.assert_array_equal(greys, [grey(frame) for frame in range(4)])
    path = root / Dataset(root).episodes[1].data
    table = pq.read_table(path, partitioning=None)
    images = table.column(FRONT).to_pylist()
    images[1]["bytes"] = images[1]["bytes"][:-5]
    images[2]["bytes"] = None
    place = table.column_names.index(FRONT)
    pq.write_table(table.set_column(place, FRONT, pa.array(images)), path)
    first, second = verify(root).episodes
    assert not first.faults
    assert second.faults[0].endswith(f"image 1 of {FRONT} is cut off, and 1 more are damaged")
    with pytest.raises(DatasetError, match=f"an image of {FRONT} is"):
        list(Dataset(root).episode(1).frames(FRONT))

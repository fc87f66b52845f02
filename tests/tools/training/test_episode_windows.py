"""The frames of a dataset and the actions that follow each."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import DatasetError
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.tests.robot.dataset.recordings import SCHEMA, dataset, grey, row
from holdfast.tests.tools.training.small_trainings import small
from holdfast.tools.training.episode_windows import (
    EpisodeWindows,
    identity_of,
    load_windows,
    spec_of,
)

LENGTHS = (5, 8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes of 5 and 8 frames, of two cameras."""
    folder = tmp_path_factory.mktemp("recorded") / "pick"
    dataset(folder, SCHEMA, LENGTHS)
    return folder


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    steps=st.integers(1, 9),
)
def test_a_window_ends_with_its_episode(lengths: list[int], steps: int) -> None:
    """Its actions are those of a loop over lists; the last is repeated, and does not count."""
    episodes = [[100.0 * e + t for t in range(length)] for e, length in enumerate(lengths)]
    total = sum(lengths)
    windows = EpisodeWindows(
        images={},
        state=np.zeros((total, 1), np.float32),
        action=np.array([[a, -a] for episode in episodes for a in episode], np.float32),
        end=np.repeat(np.cumsum(lengths), lengths),
        task=np.zeros(total, np.int64),
        tasks=("t",),
        identity="",
    )
    actions, recorded = windows.chunks(np.arange(total), steps)
    frame = 0
    for episode in episodes:
        for t in range(len(episode)):
            rest = episode[t : t + steps]
            padded = rest + [episode[-1]] * (steps - len(rest))
            assert recorded[frame] == len(rest)
            assert actions[frame].tolist() == [[a, -a] for a in padded]
            frame += 1


def test_the_frames_of_a_dataset_are_what_was_recorded(root: Path, tmp_path: Path) -> None:
    """States, actions, tasks and episode ends are exact, pictures within the codec's error."""
    opened = Dataset(root)
    config = small(cameras=("wrist", "top"))
    spec = spec_of(opened, config)
    data = load_windows(opened, spec, tmp_path)
    assert [c.name for c in spec.cameras] == list(data.images) == ["wrist", "top"]
    assert (spec.model, spec.state_names, spec.action_names) == (
        "pick",
        ("x", "y", "yaw"),
        ("x", "y"),
    )
    assert (spec.fps, spec.prefix, spec.max_prefix_steps) == (30, "trained", 4)
    at = 0
    for number, length in enumerate(LENGTHS):
        for frame in range(length):
            expected = row(SCHEMA, number, frame)
            np.testing.assert_array_equal(data.state[at], expected.state)
            np.testing.assert_array_equal(data.action[at], expected.action)
            assert data.tasks[data.task[at]] == expected.task
            assert data.end[at] == sum(LENGTHS[: number + 1])
            for images in data.images.values():
                assert images[at].shape == (16, 16, 3)
                assert abs(float(images[at].mean()) - grey(frame)) < 4
            at += 1
    assert at == len(data)


def test_pictures_are_decoded_once(root: Path, tmp_path: Path) -> None:
    """A second load maps the files of the first and needs no video."""
    copy = tmp_path / "pick"
    shutil.copytree(root, copy)
    spec = spec_of(Dataset(copy), small())
    first = load_windows(Dataset(copy), spec, tmp_path / "cache")
    for video in copy.glob("videos/**/*.mp4"):
        video.write_bytes(bytes(video.stat().st_size))
    again = load_windows(Dataset(copy), spec, tmp_path / "cache")
    assert isinstance(again.images["top"], np.memmap)
    np.testing.assert_array_equal(first.images["top"], again.images["top"])


def test_a_dataset_is_named_by_its_content(root: Path, tmp_path: Path) -> None:
    """A copy elsewhere is the same; one more episode, or a file of another size, is not."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(root, copy)
    named = identity_of(Dataset(root))
    assert identity_of(Dataset(copy)) == named
    video = next(copy.glob("videos/**/*.mp4"))
    video.write_bytes(video.read_bytes() + b"\0")
    changed = identity_of(Dataset(copy))
    dataset(copy, SCHEMA, (3,))
    assert len({named, changed, identity_of(Dataset(copy))}) == 3


def test_an_unknown_camera_is_refused_with_the_known_ones(root: Path) -> None:
    """The error names the cameras that the dataset has."""
    with pytest.raises(ValueError, match=r"cameras: side not found, .*pick has top, wrist"):
        spec_of(Dataset(root), small(cameras=("side",)))


def test_a_dataset_without_episodes_is_refused(tmp_path: Path) -> None:
    """The error says that some have to be recorded."""
    DatasetWriter(tmp_path / "none", "r1", SCHEMA).close()
    opened = Dataset(tmp_path / "none")
    with pytest.raises(DatasetError, match="no episodes; record some first"):
        load_windows(opened, spec_of(opened, small()), tmp_path)


def test_failures_are_left_out_where_that_is_asked_for(root: Path, tmp_path: Path) -> None:
    """The frames, pictures too, are those of the other episodes, and the identity says so."""
    opened = Dataset(root)  # its first episode is a failure
    spec = spec_of(opened, small())
    whole = load_windows(opened, spec, tmp_path)
    kept = load_windows(opened, spec, tmp_path, skip_failures=True)
    assert len(kept) == LENGTHS[1] and kept.end.tolist() == [LENGTHS[1]] * LENGTHS[1]
    np.testing.assert_array_equal(kept.action, whole.action[LENGTHS[0] :])
    np.testing.assert_array_equal(kept.images["top"], whole.images["top"][LENGTHS[0] :])
    assert kept.identity != whole.identity


def test_a_dataset_of_failures_alone_is_refused(tmp_path: Path) -> None:
    """The error names the key."""
    dataset(tmp_path / "failed", SCHEMA, (3,))
    opened = Dataset(tmp_path / "failed")
    with pytest.raises(DatasetError, match="all episodes are failures, which skip_failures omits"):
        load_windows(opened, spec_of(opened, small()), tmp_path, skip_failures=True)

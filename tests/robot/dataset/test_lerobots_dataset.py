"""Reading a dataset that the LeRobot library wrote itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from holdfast.errors import DatasetError
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.verification import verify
from holdfast.tests.peers.environments import ROOT, interpreter_of

from . import recordings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = ROOT / "tests" / "peers" / "lerobot_dataset_program.py"
CAMERA = "observation.images.top"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset `small` and `expected.npz`, what the library was given."""
    folder = tmp_path_factory.mktemp("theirs")
    arguments = ["make", str(folder / "small"), str(folder / "expected.npz")]
    python = str(interpreter_of("lerobot-0.6"))
    subprocess.run([python, str(PROGRAM), *arguments], check=True, capture_output=True)
    return folder


def test_every_row_of_every_episode_is_what_the_library_was_given(place: Path) -> None:
    """Counts, names, states, actions, timestamps and tasks agree, with several episodes a file."""
    dataset, expected = Dataset(place / "small"), np.load(place / "expected.npz")
    assert [len(episode) for episode in dataset] == expected["lengths"].tolist()
    assert len({entry.data for entry in dataset.episodes}) == 1, "one file has them all"
    assert dataset.names("observation.state") == ("x", "y", "yaw")
    assert dataset.cameras == (CAMERA,)
    states = np.concatenate([episode.states for episode in dataset])
    actions = np.concatenate([episode.actions for episode in dataset])
    np.testing.assert_array_equal(states, expected["states"])
    np.testing.assert_array_equal(actions, expected["actions"])
    for episode in dataset:
        np.testing.assert_allclose(episode.timestamps, np.arange(len(episode)) / 10, atol=1e-6)
        np.testing.assert_array_equal(episode.column("reward"), np.arange(len(episode)))
    assert set(dataset.episode(0).tasks) == {"pick the red parcel"}
    assert set(dataset.episode(1).tasks) == {"pick the blue parcel"}


def test_a_dataset_of_the_library_is_found_whole(place: Path) -> None:
    """Rows, instants and frames are counted, without checksums; it is not ours to add to."""
    found = verify(place / "small")
    assert found.whole, (found.faults, [each.faults for each in found.episodes])
    with pytest.raises(DatasetError, match="episodes of another kind"):
        DatasetWriter(place / "small", "r1", recordings.SCHEMA)


def test_each_image_of_an_episode_within_a_shared_video_is_its_own(place: Path) -> None:
    """The k-th image of episode i has the grey value that it was given, within 3 of 255."""
    for episode in Dataset(place / "small"):
        greys = [image.mean() for image in episode.frames(CAMERA)]
        wanted = 20 + 9 * (np.arange(len(episode)) + episode.entry.index)
        np.testing.assert_allclose(greys, wanted, atol=3)

"""Frames cut out of an mp4, which are those of the whole one."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import DatasetError
from holdfast.robot.dataset.video_cut import cut
from holdfast.tests.robot.dataset import recordings

LENGTH = 40


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cut") / "pick"
    recordings.dataset(root, recordings.SMALL, lengths=(LENGTH,))
    return root / "videos/observation.images.top/chunk-000/file-000.mp4"


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=st.integers(0, LENGTH - 1), count=st.integers(1, LENGTH))
def test_a_cut_has_the_frames_of_its_span(video: Path, first: int, count: int) -> None:
    """From the instant that is returned, each in its place; none after them."""
    last = min(first + count, LENGTH)
    made, first_s = cut(video, first / 30, last / 30, 30)
    with av.open(BytesIO(made), "r") as container:
        frames = [
            (float(f.time or 0.0), f.to_ndarray(format="gray")) for f in container.decode(video=0)
        ]
    shown = [(at_s, grey) for at_s, grey in frames if at_s > first_s - 0.01]
    assert np.allclose(
        [at_s for at_s, _ in shown], first_s + np.arange(last - first) / 30, atol=1e-3
    )
    for number, (_, grey) in enumerate(shown):
        assert abs(float(grey.mean()) - recordings.grey(first + number)) < 3


def test_a_span_without_frames_and_a_damaged_file_are_refused(video: Path, tmp_path: Path) -> None:
    """The error has the file's name."""
    with pytest.raises(DatasetError, match="has no frame from 9"):
        cut(video, 9.0, 9.0, 30)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(video.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"damaged\.mp4 cannot be cut"):
        cut(damaged, 0.0, 1.0, 30)

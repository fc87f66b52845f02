"""What an encoder makes of pictures, of any size."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from holdfast.robot.dataset.encoding import Encoding
from holdfast.robot.dataset.video_encoder import VideoEncoder


@pytest.mark.parametrize("width", [64, 66, 98, 130])
def test_every_frame_is_its_own_picture_whatever_its_width_is(tmp_path: Path, width: int) -> None:
    """Rows of a frame in memory may be longer than the picture's; a view is taken as it is."""
    height, count = 48, 5
    across = np.linspace(0, 200, width).astype(np.uint8)
    wide = np.zeros((height, 2 * width, 3), np.uint8)
    pictures = []
    for k in range(count):
        wide[:, :width] = np.stack([across, across[::-1], np.full(width, 40 * k)], axis=1)
        pictures.append(wide[:, :width].copy())
    encoder = VideoEncoder(tmp_path / "v.mp4", height, width, 30, Encoding(quality=1))
    for picture in pictures:
        wide[:, :width] = picture
        encoder.add(wide[:, :width])  # which is not contiguous, and changes afterwards
    encoder.close()
    with av.open(str(tmp_path / "v.mp4")) as file:
        decoded = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(decoded) == encoder.packets == count
    for shown, picture in zip(decoded, pictures, strict=True):
        assert np.abs(shown.astype(int) - picture).mean() < 4

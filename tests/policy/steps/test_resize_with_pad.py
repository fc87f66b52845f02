"""Images at a model's size: scaled and padded as Pillow and openpi-client do, to the byte."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import StepError
from holdfast.policy.steps import ResizeImages, resize_with_pad
from holdfast.tests.peers.environments import interpreter_of

PEER = """
import sys
import numpy as np
from openpi_client.image_tools import resize_with_pad
rng = np.random.default_rng(7)
made = {}
for k in range(300):
    h, w = rng.integers(2, 400, 2)
    size = (224, 224) if k % 2 else tuple(map(int, rng.integers(20, 300, 2)))
    image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    if k % 3 == 0:
        image = np.where(image > 127, 255, 0).astype(np.uint8)
    try:
        found = resize_with_pad(image, *size)
    except ValueError:  # nothing remains of it
        found = np.zeros(0, np.uint8)
    made[f"{k}/image"], made[f"{k}/found"], made[f"{k}/size"] = image, found, np.array(size)
np.savez(sys.argv[1], **made)
"""


def pattern(height: int, width: int) -> np.ndarray[Any, Any]:
    """An image of hard edges and of gradients, the same everywhere."""
    y, x, c = np.mgrid[:height, :width, :3]
    values = x * x * 7 + y * y * 13 + x * y * 5 + c * 91 + (x // 3) * (y // 5) * 29
    return np.asarray(values % 256, np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "size", "digest"),
    [
        (480, 640, (224, 224), "2894d0aafa2abb5f"),
        (180, 320, (224, 224), "1bfc8a9aa0a12c6f"),
        (64, 48, (224, 224), "9d66ad9061a1a5d7"),
        (97, 31, (50, 60), "aac8221ffbda5b42"),
    ],
)
def test_the_bytes_are_those_of_openpis_client(
    height: int, width: int, size: tuple[int, int], digest: str
) -> None:
    """Shrunk, enlarged, padded at the sides and above: what image_tools gave with Pillow 11.2.1."""
    found = resize_with_pad(pattern(height, width), *size)
    assert found.shape == (*size, 3)
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == digest


@pytest.mark.slow
def test_any_image_has_the_bytes_of_openpis_client(tmp_path: Path) -> None:
    """Random images of random sizes, resized by its image_tools in its own environment."""
    file = tmp_path / "resized.npz"
    command = [str(interpreter_of("openpi")), "-c", PEER, str(file)]
    subprocess.run(command, check=True, timeout=300)
    made = np.load(file)
    for k in range(300):
        image, found = made[f"{k}/image"], made[f"{k}/found"]
        height, width = map(int, made[f"{k}/size"])
        if found.size:
            assert np.array_equal(resize_with_pad(image, height, width), found), image.shape
        else:
            with pytest.raises(StepError, match="too flat"):
                resize_with_pad(image, height, width)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(8, 40), st.integers(8, 40))
def test_an_image_of_one_colour_stays_so_on_black(
    height: int, width: int, to_height: int, to_width: int
) -> None:
    """The scaled image fills one direction, is centred in the other, and its shape is kept."""
    image = np.full((height, width, 3), 200, np.uint8)
    try:
        found = resize_with_pad(image, to_height, to_width)
    except StepError:
        assert max(height / width, width / height) > 7
        return
    rows, columns = np.flatnonzero(found.any((1, 2))), np.flatnonzero(found.any((0, 2)))
    inner = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (inner == 200).all()
    # Rounding down, of numbers that are not exact, may cost one more pixel.
    assert len(rows) >= to_height - 1 or len(columns) >= to_width - 1
    for found_at, size in ((rows, to_height), (columns, to_width)):
        assert 0 <= (size - 1 - found_at[-1]) - found_at[0] <= 1


def test_a_batch_is_resized_image_by_image() -> None:
    """Leading dimensions stay; an image that has the size is passed on as it is."""
    batch = np.stack([pattern(20, 30), pattern(20, 30)[::-1]])
    found = resize_with_pad(batch, 16, 16)
    assert np.array_equal(found[1], resize_with_pad(batch[1], 16, 16))
    assert resize_with_pad(batch, 20, 30) is batch


def test_every_image_of_the_map_is_resized() -> None:
    """The step changes `image` alone, and names the image that it cannot use."""
    data = {"image": {"base_0_rgb": pattern(20, 30)}, "state": 1}
    made = ResizeImages(8, 8)(data)
    assert made["image"]["base_0_rgb"].shape == (8, 8, 3)
    assert made["state"] == 1
    assert data["image"]["base_0_rgb"].shape == (20, 30, 3)  # type: ignore[index]
    for image, why in (
        (np.zeros((4, 4), np.uint8), r"expected uint8 \[\.\.\., h, w, 3\]"),
        (np.zeros((4, 4, 3)), r"float64\[4, 4, 3\], expected uint8"),
        ("x", "'image/top' is str"),
    ):
        with pytest.raises(StepError, match=why):
            ResizeImages(8, 8)({"image": {"top": image}})
    with pytest.raises(StepError, match="expected a map of images"):
        ResizeImages(8, 8)({"image": pattern(4, 4)})

"""JPEGs of two parts: their pixels are those of the whole image's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.transport.arrays import Buffer
from holdfast.transport.images import Pixels, decode_jpeg, describe_all, encode_jpeg, resolve
from holdfast.transport.jpeg_parts import joined, middle_row


def picture(width: int, height: int, seed: int) -> Pixels:
    """Surfaces with noise: its coefficients are neither all zero nor all large."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy: Pixels = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
    return noisy


@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(1, 200),
    height=st.integers(128, 400),
    quality=st.integers(1, 100),
    seed=st.integers(0, 99),
)
def test_two_parts_have_the_pixels_of_the_whole_image(
    width: int, height: int, quality: int, seed: int
) -> None:
    """By our decoder and by OpenCV's."""
    image = picture(width, height, seed)
    row = middle_row(height)
    assert 0 < row < height
    parts = joined(encode_jpeg(image[:row], quality), encode_jpeg(image[row:], quality), height)
    whole = encode_jpeg(image, quality)
    assert np.array_equal(decode_jpeg(parts, width, height), decode_jpeg(whole, width, height))
    ours, theirs = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) for data in (parts, whole)
    )
    assert ours is not None and theirs is not None and np.array_equal(ours, theirs)


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("height", [48, 127, 128, 240])
def test_several_images_have_the_pixels_of_each_alone(count: int, height: int) -> None:
    """Also the last of an odd number, which two threads encode."""
    images = [picture(64 + k, height, k) for k in range(count)]
    blobs: list[Buffer] = [b"state"]
    described = describe_all(images, blobs, 90)
    assert [image.blob for image in described] == list(range(1, count + 1))
    for image, found in zip(images, described, strict=True):
        alone = decode_jpeg(encode_jpeg(image, 90), image.shape[1], height)
        assert np.array_equal(resolve(found, blobs), alone)


def test_an_image_that_is_too_small_is_not_divided() -> None:
    """Below 128 rows; larger ones at a whole block."""
    assert [middle_row(height) for height in (1, 127, 128, 143, 480)] == [0, 0, 64, 80, 240]

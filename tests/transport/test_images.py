"""Images as raw bytes, JPEG or references to shared memory."""

from __future__ import annotations

import struct
import time
from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.errors import WireError
from holdfast.transport.arrays import Buffer
from holdfast.transport.images import (
    Image,
    Pixels,
    decode_jpeg,
    describe,
    encode_jpeg,
    jpeg_size,
    refer,
    resize,
    resolve,
)
from holdfast.transport.limits import DEFAULT, Limits
from holdfast.transport.outbox import Outbox, OutboxReader, Reference

image_arrays = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def scene(width: int = 64, height: int = 48) -> Pixels:
    """Smooth enough that JPEG keeps it, and of a different colour on each side."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return (np.stack([x, y, 1 - x], axis=2) * 255).astype(np.uint8)


@given(image_arrays)
def test_a_raw_image_survives_the_wire_bit_for_bit(image: Pixels) -> None:
    """The pixels are equal, and not copied."""
    blobs: list[Buffer] = []
    found = resolve(describe(image, blobs), blobs)
    assert np.array_equal(found, image)
    assert np.shares_memory(found, image)


@given(image_arrays, st.integers(1, 100))
def test_a_jpeg_keeps_its_size(image: Pixels, quality: int) -> None:
    """Description, JPEG header and decoded image have the size of the original."""
    blobs: list[Buffer] = []
    described = describe(image, blobs, quality)
    assert (described.width, described.height) == image.shape[1::-1] == jpeg_size(blobs[0])
    assert resolve(described, blobs).shape == image.shape


@pytest.mark.parametrize("quality", [0, 60, 90])
def test_channels_are_rgb_at_both_ends(quality: int) -> None:
    """A red image is red after every encoding."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 250
    blobs: list[Buffer] = []
    red, green, blue = resolve(describe(image, blobs, quality), blobs).reshape(-1, 3).mean(axis=0)
    assert red > 240 and green < 10 and blue < 10


def test_a_jpeg_looks_like_its_image_to_another_decoder() -> None:
    """OpenCV decodes ours and ours decodes OpenCV's, with a small error."""
    image = scene()
    ours = cv2.imdecode(np.frombuffer(encode_jpeg(image, 90), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert ours is not None
    assert np.abs(ours.astype(int) - image).mean() < 2
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert np.abs(decode_jpeg(bytes(data), 64, 48).astype(int) - image).mean() < 2


def test_a_grey_jpeg_is_decoded_to_three_channels() -> None:
    """A JPEG of one channel becomes RGB with equal channels."""
    _, data = cv2.imencode(".jpg", scene()[..., 0])
    image = decode_jpeg(bytes(data), 64, 48)
    assert image.shape == (48, 64, 3)
    assert (image[..., 0] == image[..., 2]).all()


def start_of_frame(data: bytes | bytearray) -> int:
    return data.index(b"\xff\xc0")


def bomb(width: int, height: int) -> bytes:
    data = bytearray(encode_jpeg(scene(), 90))
    struct.pack_into(">HH", data, start_of_frame(data) + 5, height, width)
    return bytes(data)


@pytest.mark.parametrize("size", [(65500, 65500), (64, 47), (0, 48), (4096, 4096)])
def test_a_jpeg_of_another_size_than_described_is_not_decoded(size: tuple[int, int]) -> None:
    """A size in its header that differs is refused before any memory is allocated."""
    started_s = time.process_time()
    with pytest.raises(WireError) as error:
        decode_jpeg(bomb(*size), 64, 48)
    assert error.value.reason == "image-size"
    assert time.process_time() - started_s < 0.1


def test_an_image_beyond_the_limits_is_refused_in_every_encoding() -> None:
    """Width, height and pixels are checked first; the reason is `image-size`."""
    limits = Limits(max_image_width=100, max_image_height=100, max_image_pixels=5000)
    for width, height in ((101, 1), (1, 101), (100, 51)):
        for encoding in ("raw", "jpeg", "shm"):
            with pytest.raises(WireError) as error:
                resolve(Image(width, height, encoding), [bytes(width * height * 3)], None, limits)
            assert error.value.reason == "image-size"


def test_a_jpeg_of_endless_scans_is_not_decoded() -> None:
    """More scans than the limit are refused: each is a pass over all pixels."""
    data = encode_jpeg(scene(), 90)
    scan = data.index(b"\xff\xda")
    header = data[scan : scan + 2 + struct.unpack_from(">H", data, scan + 2)[0]]
    with pytest.raises(WireError, match="scans") as error:
        decode_jpeg(data[:-2] + header * 1000 + data[-2:], 64, 48)
    assert error.value.reason == "image-jpeg"


def test_a_progressive_jpeg_is_refused_with_a_remedy() -> None:
    """Only baseline JPEG is decoded; the reason is `image-jpeg`."""
    _, data = cv2.imencode(".jpg", scene(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    with pytest.raises(WireError, match="not baseline") as error:
        decode_jpeg(bytes(data), 64, 48)
    assert error.value.reason == "image-jpeg"


@given(st.data())
def test_a_damaged_jpeg_is_a_wire_error_or_an_image_of_the_described_size(
    data: st.DataObject,
) -> None:
    """Mutated and truncated files never raise another exception."""
    jpeg = bytearray(encode_jpeg(scene(), 90))
    for _ in range(data.draw(st.integers(0, 6))):
        jpeg[data.draw(st.integers(0, len(jpeg) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(jpeg)))
    try:
        assert decode_jpeg(bytes(jpeg[:cut]), 64, 48).shape == (48, 64, 3)
    except WireError as error:
        assert error.reason in ("image-jpeg", "image-size")


@pytest.mark.parametrize("lost", [1, 2, 10, 200, 600])
def test_a_truncated_jpeg_is_refused_and_not_filled_with_grey(lost: int) -> None:
    """A file without its last bytes raises WireError."""
    with pytest.raises(WireError) as error:
        decode_jpeg(encode_jpeg(scene(), 90)[:-lost], 64, 48)
    assert error.value.reason == "image-jpeg"


@given(st.binary(max_size=100))
def test_any_bytes_have_a_jpeg_size_or_are_refused(data: bytes) -> None:
    """Random bytes raise nothing but `image-jpeg`."""
    for prefix in (b"", b"\xff\xd8", b"\xff\xd8\xff"):
        try:
            jpeg_size(prefix + data)
        except WireError as error:
            assert error.reason == "image-jpeg"


@given(
    st.sampled_from(["raw", "jpeg", "shm"]),
    st.integers(1, 4096),
    st.integers(1, 4096),
    st.integers(0, 3),
    st.none() | st.builds(Reference, *[st.integers(0, 100)] * 5),
    st.binary(max_size=64),
)
def test_any_description_gives_an_image_or_a_wire_error(
    encoding: Literal["raw", "jpeg", "shm"],
    width: int,
    height: int,
    blob: int,
    reference: Reference | None,
    data: bytes,
) -> None:
    """An untrusted description never raises another exception."""
    try:
        found = resolve(Image(width, height, encoding, blob, reference), [data], {})
    except WireError:
        return
    assert found.shape == (height, width, 3)


def test_an_image_in_shared_memory_is_viewed_through_its_outbox() -> None:
    """A reference resolves to the outbox's pixels, without a copy."""
    memory = bytearray(Outbox.size_for(10000))
    outbox, reader = Outbox(memory), OutboxReader(memory)
    image = refer(outbox.put({"top": scene()})["top"])
    found = resolve(image, [], {reader.nonce: reader})
    assert np.array_equal(found, scene())
    assert np.shares_memory(found, np.frombuffer(memory, np.uint8))


def test_shared_memory_that_is_not_mapped_here_is_refused() -> None:
    """An unknown nonce, another size and a missing reference raise WireError."""
    memory = bytearray(Outbox.size_for(10000))
    outbox, reader = Outbox(memory), OutboxReader(memory)
    image = refer(outbox.put({"top": scene()})["top"])
    for outboxes in (None, {}, {reader.nonce + 1: reader}):
        with pytest.raises(WireError) as error:
            resolve(image, [], outboxes)
        assert error.value.reason == "shm-nonce"
    with pytest.raises(WireError) as error:
        resolve(Image(64, 47, "shm", reference=image.reference), [], {reader.nonce: reader})
    assert error.value.reason == "shm-bounds"
    with pytest.raises(WireError) as error:
        resolve(Image(64, 48, "shm"), [], {reader.nonce: reader})
    assert error.value.reason == "shm-reference"


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
)
@pytest.mark.parametrize("quality", [0, 90])
def test_an_array_that_is_no_rgb_image_is_refused(image: Pixels, quality: int) -> None:
    """Another rank, channel count or dtype raises `image-shape`."""
    with pytest.raises(WireError) as error:
        describe(image, [], quality)
    assert error.value.reason == "image-shape"


@pytest.mark.parametrize("quality", [-1, 101])
def test_an_impossible_quality_is_refused(quality: int) -> None:
    """A JPEG quality outside of 1 to 100 raises WireError."""
    with pytest.raises(WireError, match="1 to 100"):
        describe(scene(), [], quality)


@given(image_arrays, st.integers(1, 40), st.integers(1, 40))
def test_resizing_gives_the_size_and_the_same_bytes_every_time(
    image: Pixels, width: int, height: int
) -> None:
    """Robot and replica get equal bytes, whatever the memory layout."""
    small = resize(image, width, height)
    assert small.shape == (height, width, 3) and small.dtype == np.uint8
    assert np.array_equal(small, resize(image.copy(order="F"), width, height))
    assert resize(small, width, height) is small


def test_resizing_averages_areas() -> None:
    """Every pixel counts, so that a small object does not fall between the samples."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[3, 3] = 160
    assert resize(image, 2, 2)[0, 0].tolist() == [10, 10, 10]


def test_the_limits_of_images_fit_into_the_limits_of_blobs() -> None:
    """The largest raw image fits into the largest blob."""
    assert DEFAULT.max_image_pixels * 3 <= DEFAULT.max_blob_bytes

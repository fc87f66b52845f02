from __future__ import annotations

import struct
import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.errors import WireError
from holdfast.transport.images import (
    Image,
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

pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def scene(width: int = 64, height: int = 48) -> np.ndarray:
    """Smooth enough that JPEG keeps it, and of a different colour on each side."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return (np.stack([x, y, 1 - x], axis=2) * 255).astype(np.uint8)


@given(pictures)
def test_a_raw_image_survives_the_wire_bit_for_bit(image: np.ndarray):
    blobs: list = []
    found = resolve(describe(image, blobs), blobs)
    assert np.array_equal(found, image)
    assert np.shares_memory(found, image)


@given(pictures, st.integers(1, 100))
def test_a_jpeg_keeps_its_size(image: np.ndarray, quality: int):
    blobs: list = []
    described = describe(image, blobs, quality)
    assert (described.width, described.height) == image.shape[1::-1] == jpeg_size(blobs[0])
    assert resolve(described, blobs).shape == image.shape


@pytest.mark.parametrize("quality", [0, 60, 90])
def test_channels_are_rgb_at_both_ends(quality: int):
    """Red stays red: a swapped channel order would make it blue."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 250
    blobs: list = []
    red, green, blue = resolve(describe(image, blobs, quality), blobs).reshape(-1, 3).mean(axis=0)
    assert red > 240 and green < 10 and blue < 10


def test_a_jpeg_looks_like_its_image_to_another_decoder():
    """Ours is checked by OpenCV's, and OpenCV's encoder by our decoder."""
    image = scene()
    ours = cv2.imdecode(np.frombuffer(encode_jpeg(image, 90), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(ours.astype(int) - image).mean() < 2
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert np.abs(decode_jpeg(bytes(data), 64, 48).astype(int) - image).mean() < 2


def test_a_grey_jpeg_is_decoded_to_three_channels():
    _, data = cv2.imencode(".jpg", scene()[..., 0])
    image = decode_jpeg(bytes(data), 64, 48)
    assert image.shape == (48, 64, 3)
    assert (image[..., 0] == image[..., 2]).all()


def start_of_frame(data: bytes) -> int:
    return data.index(b"\xff\xc0")


def bomb(width: int, height: int) -> bytes:
    data = bytearray(encode_jpeg(scene(), 90))
    struct.pack_into(">HH", data, start_of_frame(data) + 5, height, width)
    return bytes(data)


@pytest.mark.parametrize("size", [(65500, 65500), (64, 47), (0, 48), (4096, 4096)])
def test_a_jpeg_of_another_size_than_described_is_not_decoded(size: tuple[int, int]):
    """A few bytes that claim gigabytes are refused by their own header."""
    started = time.process_time()
    with pytest.raises(WireError) as error:
        decode_jpeg(bomb(*size), 64, 48)
    assert error.value.reason == "image-size"
    assert time.process_time() - started < 0.1


def test_an_image_beyond_the_limits_is_refused_whatever_it_is():
    limits = Limits(max_image_width=100, max_image_height=100, max_image_pixels=5000)
    for width, height in ((101, 1), (1, 101), (100, 51)):
        for encoding in ("raw", "jpeg", "shm"):
            with pytest.raises(WireError) as error:
                resolve(Image(width, height, encoding), [bytes(width * height * 3)], None, limits)
            assert error.value.reason == "image-size"


def test_a_jpeg_of_endless_scans_is_not_decoded():
    """Each scan is a pass over all pixels for a dozen bytes."""
    data = encode_jpeg(scene(), 90)
    scan = data.index(b"\xff\xda")
    header = data[scan : scan + 2 + struct.unpack_from(">H", data, scan + 2)[0]]
    with pytest.raises(WireError, match="scans") as error:
        decode_jpeg(data[:-2] + header * 1000 + data[-2:], 64, 48)
    assert error.value.reason == "image-jpeg"


def test_a_progressive_jpeg_is_refused_with_a_remedy():
    _, data = cv2.imencode(".jpg", scene(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    with pytest.raises(WireError, match="not baseline") as error:
        decode_jpeg(bytes(data), 64, 48)
    assert error.value.reason == "image-jpeg"


@given(st.data())
def test_a_damaged_jpeg_is_a_wire_error_or_an_image_of_the_described_size(data: st.DataObject):
    jpeg = bytearray(encode_jpeg(scene(), 90))
    for _ in range(data.draw(st.integers(0, 6))):
        jpeg[data.draw(st.integers(0, len(jpeg) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(jpeg)))
    try:
        assert decode_jpeg(bytes(jpeg[:cut]), 64, 48).shape == (48, 64, 3)
    except WireError as error:
        assert error.reason in ("image-jpeg", "image-size")


@pytest.mark.parametrize("lost", [1, 2, 10, 200, 600])
def test_a_truncated_jpeg_is_refused_and_not_filled_with_grey(lost: int):
    with pytest.raises(WireError) as error:
        decode_jpeg(encode_jpeg(scene(), 90)[:-lost], 64, 48)
    assert error.value.reason == "image-jpeg"


@given(st.binary(max_size=100))
def test_any_bytes_have_a_jpeg_size_or_are_refused(data: bytes):
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
    encoding, width, height, blob, reference, data
):
    try:
        found = resolve(Image(width, height, encoding, blob, reference), [data], {})
    except WireError:
        return
    assert found.shape == (height, width, 3)


def test_an_image_in_shared_memory_is_viewed_through_its_outbox():
    memory = bytearray(Outbox.size_for(10000))
    outbox, reader = Outbox(memory), OutboxReader(memory)
    image = refer(outbox.put({"top": scene()})["top"])
    found = resolve(image, [], {reader.nonce: reader})
    assert np.array_equal(found, scene())
    assert np.shares_memory(found, np.frombuffer(memory, np.uint8))


def test_shared_memory_that_is_not_mapped_here_is_refused():
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
def test_only_rgb_bytes_are_images(image: np.ndarray, quality: int):
    with pytest.raises(WireError) as error:
        describe(image, [], quality)
    assert error.value.reason == "image-shape"


@pytest.mark.parametrize("quality", [-1, 101])
def test_an_impossible_quality_is_refused(quality: int):
    with pytest.raises(WireError, match="1 to 100"):
        describe(scene(), [], quality)


@given(pictures, st.integers(1, 40), st.integers(1, 40))
def test_resizing_gives_the_size_and_the_same_bytes_every_time(image, width, height):
    """Robot and replica get equal bytes, from memory of their own or not."""
    small = resize(image, width, height)
    assert small.shape == (height, width, 3) and small.dtype == np.uint8
    assert np.array_equal(small, resize(image.copy(order="F"), width, height))
    assert resize(small, width, height) is small


def test_resizing_averages_areas():
    """Every pixel counts, so that a small parcel does not fall between the samples."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[3, 3] = 160
    assert resize(image, 2, 2)[0, 0].tolist() == [10, 10, 10]


def test_the_limits_of_images_fit_into_the_limits_of_blobs():
    assert DEFAULT.max_image_pixels * 3 <= DEFAULT.max_blob_bytes

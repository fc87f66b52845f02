"""The images of a request: as references on one host, as JPEG between hosts."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from holdfast.tests.actors.network.network_bench import SHAPE, Bench, noise
from holdfast.transport import images, messages, sockets
from holdfast.transport.bodies import Reply, Request, Reset
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.header import Header, Kind
from holdfast.transport.images import Pixels, encode_jpeg, resize
from holdfast.transport.messages import Blobs
from holdfast.transport.outbox import OutboxReader


def test_on_one_host_a_request_carries_references_and_no_pixels(bench: Bench) -> None:
    """The referenced pixels are the ring's, resized as the replica would."""
    bench.open(shm=True)
    image = noise()
    bench.camera.put(image, time.monotonic_ns())
    bench.request()
    message = bench.at_broker(Kind.REQUEST)
    assert (message.header.seq, message.header.token) == (7, 42)
    assert len(message.blobs) == 1, "only the state travels"
    reader = OutboxReader(bench.boot.memory["r1/outbox"])
    pixels = message.image(message.body.images["top"], {reader.nonce: reader})
    assert np.array_equal(pixels, resize(image, 32, 24))
    assert message.body.frame_age_s["top"] < 1
    assert np.array_equal(message.array(message.body.state), [1, 2])


def test_between_hosts_a_request_carries_jpeg_at_the_policys_resolution(bench: Bench) -> None:
    """The image has the policy's size and RGB order."""
    bench.open(shm=False)
    smooth = np.full(SHAPE, (200, 40, 90), np.uint8)
    bench.camera.put(smooth, time.monotonic_ns())
    bench.request()
    message = bench.at_broker(Kind.REQUEST)
    assert message.body.images["top"].encoding == "jpeg"
    pixels = message.image(message.body.images["top"])
    assert pixels.shape == (24, 32, 3)
    assert np.abs(pixels.astype(int) - (200, 40, 90)).max() < 8, "channels are RGB at both ends"


@pytest.mark.parametrize("place", ["edge", "server"])
def test_raw_images_are_those_that_the_camera_wrote_last(tmp_path: Path, place: str) -> None:
    """Bit for bit; at the policy's size with `resize: edge`."""
    bench = Bench(tmp_path, jpeg_quality=0, resize=place)
    try:
        bench.open(shm=False)
        for number in range(3):
            bench.camera.put(noise(number), time.monotonic_ns())
            bench.request()
            message = bench.at_broker(Kind.REQUEST)
            assert message.body.images["top"].encoding == "raw"
            pixels = message.image(message.body.images["top"])
            seen = noise(number)
            assert np.array_equal(pixels, resize(seen, 32, 24) if place == "edge" else seen)
    finally:
        bench.close()


def test_a_reply_has_the_age_of_the_oldest_image_when_control_asked(bench: Bench) -> None:
    """`oldest_input_age_s` counts from capture to the request's token; the rest is unchanged."""
    bench.open(shm=True)
    asked_ns = time.monotonic_ns()
    bench.camera.put(np.zeros(SHAPE, np.uint8), asked_ns - 300_000_000)
    blobs = Blobs()
    body = Request(state=blobs.array(np.array([1, 2], np.float32)), task="go")
    bench.ask(Header(Kind.REQUEST, 7, 0, 1, token=asked_ns), body, blobs)
    header = bench.at_broker(Kind.REQUEST).header
    blobs = Blobs()
    rows = np.zeros((8, 1), np.float32)
    reply = Reply(chunk_model=blobs.array(rows), chunk=blobs.array(rows + 1), load=0.5)
    frames = messages.encode(header._replace(kind=Kind.REPLY), reply, blobs)
    assert sockets.send(bench.front, [bench.peer, *frames])
    told = bench.at_control(Kind.REPLY)
    assert told.body.oldest_input_age_s == pytest.approx(0.3, abs=1e-6)
    assert told.body.load == 0.5 and (told.array(told.body.chunk) == 1).all()


def test_a_request_never_uses_a_frame_that_is_too_old(bench: Bench) -> None:
    """Control gets an ERROR with the camera and its age; the broker gets nothing."""
    bench.open(shm=True)
    bench.camera.put(noise(), time.monotonic_ns() - 2_000_000_000)
    bench.request()
    error = bench.at_control(Kind.ERROR)
    assert error.header.seq == 7
    assert error.body.reason == "stale-frame"
    assert "top is 2" in error.body.message
    assert "at most 500 ms" in error.body.message


@pytest.mark.parametrize("told", [True, False])
def test_a_request_never_uses_a_frame_from_before_its_episode(tmp_path: Path, told: bool) -> None:
    """Also when the RESET was lost: the first request carries the episode too."""
    patient = {"max_frame_age_s": 60.0, "broker_lost_after_s": 60.0}
    with closing(Bench(tmp_path, **patient)) as bench:
        bench.open(shm=True)
        bench.camera.put(noise(), time.monotonic_ns())
        bench.request()
        bench.at_broker(Kind.REQUEST)
        if told:
            bench.ask(Header(Kind.RESET, episode=1, epoch=1), Reset())
            bench.at_broker(Kind.RESET)
        bench.request(episode=1)
        assert "no frame of this episode" in bench.at_control(Kind.ERROR).body.message
        bench.camera.put(noise(1), time.monotonic_ns())
        bench.request(episode=1)
        assert bench.at_broker(Kind.REQUEST).header.episode == 1


def test_a_camera_whose_memory_is_damaged_refuses_the_request_and_ends_nothing(
    bench: Bench,
) -> None:
    """Requests succeed again once the ring is formatted anew."""
    bench.open(shm=True)
    memory = bench.boot.memory["r1/top"]
    memory[:8] = b"garbage!"
    bench.request()
    error = bench.at_control(Kind.ERROR)
    assert error.body.reason == "stale-frame" and "ring is damaged" in error.body.message
    memory[:8] = bytes(8)
    FrameRing(memory, SHAPE).put(np.zeros(SHAPE, np.uint8), time.monotonic_ns())
    bench.request()
    bench.at_broker(Kind.REQUEST)


def test_a_camera_that_never_gave_a_frame_refuses_the_request(bench: Bench) -> None:
    """Control gets an ERROR that names the camera."""
    bench.open(shm=True)
    bench.request()
    assert "top has no frame" in bench.at_control(Kind.ERROR).body.message


def test_a_jpeg_of_a_frame_that_was_overwritten_meanwhile_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What leaves is one frame of the camera, however often it writes while images are encoded."""
    writes = 8
    encoded: list[Pixels] = []

    def encode(image: Pixels, quality: int) -> bytes:
        nonlocal writes
        for _ in range(writes):  # two rounds of the ring, the first time only
            bench.camera.put(np.full(SHAPE, 9, np.uint8), time.monotonic_ns())
        writes = 0
        encoded.append(image.copy())
        return encode_jpeg(image, quality)

    monkeypatch.setattr(images, "encode_jpeg", encode)
    bench = Bench(tmp_path, resize="server")
    try:
        bench.open(shm=False)
        bench.camera.put(np.full(SHAPE, 200, np.uint8), time.monotonic_ns())
        bench.request()
        message = bench.at_broker(Kind.REQUEST)
        assert len(message.blobs) == 2, "the state and one image"
        assert len(encoded) == 2
        pixels = message.image(message.body.images["top"])
        assert np.abs(pixels.astype(int) - 9).max() < 4
        bench.request()
        bench.at_broker(Kind.REQUEST)
        assert len(encoded) == 3, "a frame that stays is encoded once"
    finally:
        bench.close()

"""The cameras' newest frames over real HTTP on loopback, from anonymous rings."""

from __future__ import annotations

import time

import numpy as np
import pytest
import simplejpeg

from holdfast.actors.gateway.cameras import Thumbnails
from holdfast.tests.actors.gateway.running_gateway import Gateway
from holdfast.transport.frame_ring import FrameRing

SHAPE = (48, 64, 3)


def test_a_thumbnail_is_the_newest_frame_with_its_colours_and_its_age(gateway: Gateway) -> None:
    """Headers have the frame's number and age; RGB stays RGB."""
    status, _, body = gateway.get("/api/camera/r1/overhead.jpg")
    assert (status, body) == (503, b"camera r1/overhead has no frame yet\n")
    ring = FrameRing(gateway.rings["r1/overhead"], SHAPE)
    for color in ((0, 0, 255), (255, 0, 0)):
        ring.put(np.full(SHAPE, color, np.uint8), time.monotonic_ns() - 50_000_000)
    status, headers, body = gateway.get("/api/camera/r1/overhead.jpg")
    assert (status, headers["content-type"], headers["x-frame"]) == (200, "image/jpeg", "2")
    assert 50 <= int(headers["x-frame-age-ms"]) < 60_000
    red, green, blue = simplejpeg.decode_jpeg(body).reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert green < 15
    assert blue < 15


def test_a_thumbnail_is_small_and_encoded_once_for_each_frame() -> None:
    """The width is 320 and the proportions are the camera's."""
    shape = (480, 640, 3)
    memory = bytearray(FrameRing.size_for(shape))
    thumbnails = Thumbnails({"r1/top": memory})
    ring = FrameRing(memory, shape)
    ring.put(np.full(shape, 77, np.uint8), time.monotonic_ns())
    first = thumbnails.newest("r1/top")
    assert first is not None
    assert simplejpeg.decode_jpeg(first.jpeg).shape == (240, 320, 3)
    assert thumbnails.newest("r1/top") is first
    ring.put(np.full(shape, 78, np.uint8), time.monotonic_ns())
    assert thumbnails.newest("r1/top") is not first


def test_cameras_and_incarnations_of_a_sensor_do_not_mix(gateway: Gateway) -> None:
    """Each camera shows the newest frame of its own ring."""
    for camera, value in (("r1/overhead", 30), ("r1/wrist", 200)):
        ring = FrameRing(gateway.rings[camera], SHAPE, incarnation=1)
        ring.put(np.full(SHAPE, value, np.uint8), time.monotonic_ns())
        assert _mean(gateway, camera) == pytest.approx(value, abs=3)
    again = FrameRing(gateway.rings["r1/wrist"], SHAPE, incarnation=2)
    again.put(np.full(SHAPE, 90, np.uint8), time.monotonic_ns())
    assert _mean(gateway, "r1/wrist") == pytest.approx(90, abs=3)
    assert _mean(gateway, "r1/overhead") == pytest.approx(30, abs=3)


def test_an_unknown_camera_is_404_with_the_known_ones(gateway: Gateway) -> None:
    """No path outside the rings is read."""
    status, _, body = gateway.get("/api/camera/r1/overheat.jpg")
    assert status == 404
    assert b"r1/overhead, r1/wrist" in body
    assert gateway.get("/api/camera/../../etc/passwd.jpg")[0] == 404


def test_memory_that_holds_no_ring_is_a_503(gateway: Gateway) -> None:
    """The gateway goes on serving."""
    gateway.rings["r1/wrist"][:8] = b"nonsense"
    assert gateway.get("/api/camera/r1/wrist.jpg")[0] == 503
    assert gateway.get("/healthz")[0] == 200


def _mean(gateway: Gateway, camera: str) -> float:
    _, _, body = gateway.get(f"/api/camera/{camera}.jpg")
    return float(simplejpeg.decode_jpeg(body).mean())

"""The OpenCV camera on a device, with a class in place of `cv2.VideoCapture`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from holdfast.errors import RobotError
from holdfast.robot.cameras import v4l2
from holdfast.robot.cameras.base import Stamp
from holdfast.robot.cameras.opencv_camera import OpenCVCamera
from holdfast.robot.cameras.pixels import PixelFormat
from holdfast.robot.cameras.source import OpenCVOptions
from holdfast.tests.robot.cameras.pictures import RGB, SIZE, picture


class Device:
    """Stands in for cv2.VideoCapture of a device: `waitAny` waits and grabs, as OpenCV's does."""

    pictures = 1
    waits: list[int]
    properties: dict[int, float]
    keeps: ClassVar[dict[int, float]] = {}
    """What it has whatever is asked for."""
    opened: ClassVar[list[Any]] = []
    shows: np.ndarray = picture(RGB[0])[..., ::-1]
    clock: Callable[[], float] = staticmethod(lambda: 0.0)
    """The time of the buffer, ms."""

    def __init__(self, *source: Any) -> None:
        Device.waits, Device.properties = [], {}
        Device.opened.append(source[0])

    def isOpened(self) -> bool:  # noqa: N802 OpenCV's
        return True

    def set(self, name: int, value: float) -> bool:
        Device.properties[name] = Device.keeps.get(name, value)
        return True

    def get(self, name: int) -> float:
        return Device.clock() if name == cv2.CAP_PROP_POS_MSEC else Device.properties[name]

    def grab(self) -> bool:
        raise AssertionError("this would block, or drop the picture that waitAny grabbed")

    def retrieve(self, _: Any) -> tuple[bool, np.ndarray]:
        return True, Device.shows

    def release(self) -> None:
        pass

    @staticmethod
    def waitAny(  # noqa: N802
        streams: list["Device"], timeout_ns: int
    ) -> tuple[bool, list[int]]:
        Device.waits.append(timeout_ns)
        return len(Device.waits) <= Device.pictures, []


def test_a_device_that_falls_silent_is_an_error_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every wait for a picture has the camera's timeout as its bound."""
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(Device, "pictures", 2)
    camera = OpenCVCamera(0, *SIZE, timeout_s=0.5)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    camera.read(out)
    np.testing.assert_array_equal(out, picture(RGB[0]))
    with pytest.raises(RobotError, match=r"no further picture within 0\.5 s"):
        camera.read(out)
    assert Device.waits == [500_000_000] * 3


def test_a_devices_exposure_is_set_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, at the value asked for; a device that takes another is not used silently."""
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(Device, "pictures", 9)
    options = OpenCVOptions(source=0, exposure=157)
    camera = OpenCVCamera.of(options, *SIZE, 30.0)
    camera.open()
    assert Device.properties[cv2.CAP_PROP_EXPOSURE] == 157
    assert Device.properties[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    camera.close()
    monkeypatch.setattr(Device, "keeps", {cv2.CAP_PROP_EXPOSURE: 100})
    with pytest.raises(RobotError, match="did not take exposure 157, it has 100"):
        camera.open()


@pytest.mark.parametrize(
    ("clock", "stamp", "age_ms"),
    [
        (lambda: time.monotonic_ns() / 1e6 - 40, Stamp.DEVICE, 40),
        (lambda: time.time_ns() / 1e6 - 40, Stamp.DEVICE, 40),
        (lambda: 0.0, Stamp.ARRIVAL, 0),
        (lambda: 12_345.0, Stamp.ARRIVAL, 0),
        (lambda: time.monotonic_ns() / 1e6 + 500, Stamp.ARRIVAL, 0),
    ],
)
def test_a_devices_frame_has_the_instant_that_the_kernel_gives(
    monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float], stamp: Stamp, age_ms: float
) -> None:
    """Either clock of the kernel is understood; an instant that fits neither is not used."""
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(Device, "pictures", 9)
    monkeypatch.setattr(Device, "clock", staticmethod(clock))
    camera = OpenCVCamera(0, *SIZE)
    camera.open()
    assert camera.stamp is stamp
    before_ns = time.monotonic_ns()
    captured_ns = camera.read(np.empty((SIZE[1], SIZE[0], 3), np.uint8)) + 1e6 * age_ms
    assert before_ns - 1e6 < captured_ns < time.monotonic_ns() + 1e6
    assert camera.stamp is stamp


def test_a_device_that_was_unplugged_is_found_again_by_its_stable_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A camera opened by its number is opened again by its link, whatever number it has then."""
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(Device, "pictures", 9)
    monkeypatch.setattr(Device, "opened", [])
    (tmp_path / "by-id").mkdir()
    (tmp_path / "video7").touch()
    link = tmp_path / "by-id" / "usb-Maker_Camera-video-index0"
    link.symlink_to(tmp_path / "video7")
    monkeypatch.setattr(v4l2, "BY_ID", tmp_path / "by-id")
    monkeypatch.setattr(v4l2, "device_of", lambda _: tmp_path / "video7")
    camera = OpenCVCamera(7, *SIZE)
    camera.open()
    camera.close()
    camera.open()
    assert Device.opened == [7, str(link)]


def test_a_device_of_another_size_is_refused_with_the_sizes_that_it_offers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message has both sizes and the offers."""
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(v4l2, "sizes", lambda device: f"YUYV 64x48 128x96 by {device}")
    camera = OpenCVCamera(3, 640, 480)
    with pytest.raises(RobotError, match=r"64 x 48 .*640 x 480.*YUYV 64x48 128x96 by /dev/video3"):
        camera.open()


def test_a_depth_devices_frames_are_passed_on_raw_and_made_grey(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenCV is told not to convert; near is dark, far is bright, nothing is black."""
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(Device, "pictures", 9)
    depth = np.full((SIZE[1], SIZE[0]), 600, np.uint16)
    depth[0], depth[1], depth[2] = 0, 100, 9000
    monkeypatch.setattr(Device, "shows", depth)
    options = OpenCVOptions(source=0, format=PixelFormat.DEPTH, depth_range=(200, 1000))
    camera = OpenCVCamera.of(options, *SIZE, 30.0)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    camera.read(out)
    assert Device.properties[cv2.CAP_PROP_CONVERT_RGB] == 0
    assert [int(out[row, 0, 0]) for row in range(4)] == [0, 1, 255, 128]
    assert (out[..., 0] == out[..., 2]).all()
    other = OpenCVCamera(0, *SIZE)
    with pytest.raises(RobotError, match=r"1 channels of uint16.*set `format` to depth"):
        other.open()


def test_a_device_sends_its_pictures_in_the_form_that_was_asked_for_or_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A device that keeps its own is not used silently."""
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    camera = OpenCVCamera.of(OpenCVOptions(source=0, fourcc="MJPG"), *SIZE, 30.0)
    camera.open()
    monkeypatch.setattr(Device, "keeps", {cv2.CAP_PROP_FOURCC: int.from_bytes(b"GREY", "little")})
    with pytest.raises(RobotError, match="does not send 'YUYV', it sends 'GREY'"):
        OpenCVCamera.of(OpenCVOptions(source=0, fourcc="YUYV"), *SIZE, 30.0).open()

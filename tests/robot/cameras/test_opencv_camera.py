"""The OpenCV camera, on files, on a stream that falls silent, and on a device that does."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from holdfast.errors import RecordingEndedError, RobotError
from holdfast.robot.cameras import v4l2
from holdfast.robot.cameras.base import Stamp
from holdfast.robot.cameras.opencv_camera import OpenCVCamera
from holdfast.robot.cameras.pixels import PixelFormat
from holdfast.robot.cameras.source import OpenCVOptions
from holdfast.tests.robot.cameras.mjpeg_server import MjpegServer, number_of

SIZE = 64, 48
RGB = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


def picture(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), rgb, np.uint8)


@pytest.fixture
def video(tmp_path: Path) -> str:
    """Three frames, red, green and blue, at 50 a second."""
    path = tmp_path / "three.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50, SIZE)
    for rgb in RGB:
        writer.write(np.ascontiguousarray(picture(rgb)[..., ::-1]))
    writer.release()
    return str(path)


def test_a_file_gives_its_frames_in_rgb_and_begins_again(video: str) -> None:
    """In order, from the first, in the channel order they were made in; stamped in order."""
    camera = OpenCVCamera(video, *SIZE)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    instants = []
    for rgb in RGB * 2:
        instants.append(camera.read(out))
        assert np.abs(out.reshape(-1, 3).mean(axis=0) - rgb).max() < 12
    assert instants == sorted(instants) and instants[-1] <= time.monotonic_ns()
    camera.close()


def test_a_file_is_played_at_its_pace(video: str) -> None:
    """No faster than its rate, or than the one asked for."""
    for fps, period in ((None, 0.02), (100.0, 0.01)):
        camera = OpenCVCamera(video, *SIZE, fps=fps)
        camera.open()
        out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        start = time.monotonic()
        for _ in range(6):
            camera.read(out)
        assert time.monotonic() - start >= 5 * period
        camera.close()


def test_a_file_that_does_not_loop_ends_with_an_error(video: str) -> None:
    """After its last frame."""
    camera = OpenCVCamera(video, *SIZE, loop=False)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    for _ in RGB:
        camera.read(out)
    with pytest.raises(RecordingEndedError, match="has ended"):
        camera.read(out)
    camera.close()
    camera.close()


def test_another_size_than_asked_for_is_refused_at_open(video: str) -> None:
    """The message names both, and nothing stays open."""
    camera = OpenCVCamera(video, 640, 480)
    with pytest.raises(RobotError, match="64 x 48 pixels, expected 640 x 480"):
        camera.open()
    with pytest.raises(RobotError, match="not open"):
        camera.read(np.empty((480, 640, 3), np.uint8))


def test_a_source_that_is_not_there_is_refused_at_open(tmp_path: Path) -> None:
    """A missing file, a file that is no video, and a device that does not exist."""
    with pytest.raises(RobotError, match="mend its path"):
        OpenCVCamera(str(tmp_path / "gone.mp4"), *SIZE).open()
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(RobotError, match="does not open as a file"):
        OpenCVCamera(str(text), *SIZE).open()
    with pytest.raises(RobotError, match="does not open as a device"):
        OpenCVCamera("/dev/video987", *SIZE).open()


@pytest.fixture
def stream() -> Iterator[MjpegServer]:
    server = MjpegServer(SIZE)
    yield server
    server.close()


def test_a_stream_that_falls_silent_is_an_error_in_bounded_time(stream: MjpegServer) -> None:
    """The pictures that came are read; then the read gives up after its timeout."""
    camera = OpenCVCamera(stream.address, *SIZE, timeout_s=2.0)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    camera.read(out)
    assert number_of(out) in stream.captured_ns and camera.stamp is Stamp.ARRIVAL
    stream.sending.clear()
    longest = 0.0
    with pytest.raises(RobotError, match="no further picture"):
        for _ in range(100):
            start = time.monotonic()
            try:
                camera.read(out)
            finally:
                longest = max(longest, time.monotonic() - start)
    assert 1.9 < longest < 30
    camera.close()


def test_what_a_stream_queued_during_a_stall_is_dropped(stream: MjpegServer) -> None:
    """The instants of most frames are at most three periods and 50 ms after their capture."""
    # Of 20 frames: the machine may pause too. A queue of 0.6 s would make 16 of them late.
    camera = OpenCVCamera(stream.address, *SIZE, fps=1 / stream.period_s, timeout_s=5)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)

    def read() -> None:
        late_s: list[float] = []
        for _ in range(20):
            instant_ns = camera.read(out)
            late_s.append((instant_ns - stream.captured_ns[number_of(out)]) / 1e9)
        assert statistics.median(late_s) < 3 * stream.period_s + 0.05, late_s

    read()
    for _ in range(3):
        stream.sending.clear()
        threading.Timer(0.6, stream.sending.set).start()
        read()
    time.sleep(0.6)
    read()
    camera.close()


def test_a_stream_of_another_size_is_refused_with_its_own(stream: MjpegServer) -> None:
    """At the opening."""
    camera = OpenCVCamera(stream.address, 640, 480)
    with pytest.raises(RobotError, match="64 x 48 pixels, expected 640 x 480"):
        camera.open()


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


@pytest.mark.parametrize("source", [0, "/dev/video3", "rtsp://cell/1", "clip.avi"])
@pytest.mark.parametrize(
    ("option", "value", "obeyed_by"),
    [
        ("loop", False, ("clip.avi",)),
        ("timeout_s", 0.5, (0, "/dev/video3", "rtsp://cell/1")),
        ("exposure", 5.0, (0, "/dev/video3")),
        ("fourcc", "MJPG", (0, "/dev/video3")),
    ],
)
def test_an_option_without_effect_on_its_source_is_reported(
    source: int | str, option: str, value: Any, obeyed_by: tuple[int | str, ...]
) -> None:
    """`conflicts` names it; each kind of source has its own options."""
    options = OpenCVOptions(source=source, **{option: value})
    assert [fault.path for fault in options.conflicts()] == (
        [] if source in obeyed_by else [option]
    )
